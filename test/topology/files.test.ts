/** The files of deploy/ say nothing that the server does not know. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeVariable, names } from '../../src/config/environment.ts';
import { tlsCiphers } from '../../src/http/tls.ts';
import { stopPatienceMs } from '../../src/ops/stop.ts';

const root = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const find = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, found = '']) => found);

const known = new Set<string>(
  names.flatMap((name) => (describeVariable(name).secret ? [name, `${name}_FILE`] : [name])),
);

test('every variable that is set is one of the configuration', () => {
  const [shared = ''] = read('deploy/compose/compose.yml').split('x-postgres:');
  const [, configMap = ''] = read('deploy/kubernetes/configmap.yaml').split('data:');
  const set = [
    ...find(shared, /^ {4}([A-Z_]+): /gm),
    ...find(configMap, /^ +([A-Z_]+): /gm),
    ...find(read('deploy/kubernetes/deployment.yaml'), /\{ name: ([A-Z_]+), value/g),
    ...find(read('deploy/systemd/latchkey.service'), /^Environment=(.*)$/gm).flatMap((line) =>
      find(line, /([A-Z_]+)=/g),
    ),
    ...find(read('deploy/docker/Dockerfile'), /^ENV ([A-Z_]+)=/gm),
  ];
  expect(set.length).toBeGreaterThan(15);
  expect(set.filter((name) => !known.has(name))).toEqual([]);
});

test('the image brings the Node that the project is tested with', () => {
  const { devDependencies } = JSON.parse(read('package.json')) as { devDependencies: { node: string } };
  const major = devDependencies.node.split('.')[0];
  expect(find(read('deploy/docker/Dockerfile'), /^FROM node:(\d+)/gm)).toEqual([major, major]);
});

test('the image holds every folder that the server reads', () => {
  const copied = find(read('deploy/docker/Dockerfile'), /^COPY (\w+) \w+$/gm);
  expect(copied.sort()).toEqual(['migrations', 'src', 'views']);
  const sent = find(read('deploy/docker/Dockerfile.dockerignore'), /^!([\w.-]+)$/gm);
  expect(sent).toEqual(expect.arrayContaining([...copied, 'package.json', 'package-lock.json']));
});

test('nginx offers the ciphers of TLS 1.2 that Latchkey itself offers (RFC 9325 §4.2)', () => {
  const [ciphers = ''] = find(read('deploy/nginx/latchkey.conf'), /ssl_ciphers (\S+);/g);
  expect(ciphers).toBe(tlsCiphers.replace(/TLS_\w+:/g, ''));
});

test('kustomization lists every manifest, except an example and what needs another operator', () => {
  const apart = ['kustomization.yaml', 'secret.example.yaml', 'service-monitor.yaml'];
  const listed = find(read('deploy/kubernetes/kustomization.yaml'), /^ {2}- ([\w-]+\.yaml)$/gm);
  const present = readdirSync(join(root, 'deploy/kubernetes')).filter((name) => !apart.includes(name));
  expect(listed.sort()).toEqual(present.sort());
});

test('every supervisor waits equally long, and longer than a stop may take, as the documentation says', () => {
  const waits = [
    ...find(read('deploy/kubernetes/deployment.yaml'), /terminationGracePeriodSeconds: (\d+)/g),
    ...find(read('deploy/compose/compose.yml').split('x-postgres:')[0] ?? '', /stop_grace_period: (\d+)s/g),
    ...find(read('deploy/systemd/latchkey.service'), /^TimeoutStopSec=(\d+)$/gm),
    ...find(read('docs/running.md'), /does not stop should\s+wait (\d+) seconds/g),
    ...find(read('docs/deployment.md'), /Give it (\d+) seconds before\s+killing it/g),
  ].map(Number);
  const stopSeconds = Number(describeVariable('STOP_DELAY_SECONDS').productionDefault) + stopPatienceMs / 1000;
  expect(waits).toEqual(Array(5).fill(waits[0]));
  expect(waits[0]).toBeGreaterThanOrEqual(stopSeconds + 5);
});
