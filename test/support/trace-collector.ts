/** An OpenTelemetry collector: takes traces by OTLP over HTTP, in JSON. */
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import { endServer, listen } from './listen.ts';

export type CollectedSpan = {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  status: { code?: number; message?: string };
  attributes: Record<string, unknown>;
  /** Whatever else was sent of it. */
  raw: unknown;
};

type Attribute = { key: string; value: Record<string, unknown> };
type RawSpan = Omit<CollectedSpan, 'attributes' | 'raw'> & { attributes: Attribute[] };
type Export = { resourceSpans: { resource: { attributes: Attribute[] }; scopeSpans: { spans: RawSpan[] }[] }[] };

export async function startCollector() {
  const spans: CollectedSpan[] = [];
  const requests: { url: string | undefined; headers: NodeJS.Dict<string | string[]>; service: unknown }[] = [];
  const server = createServer(async (req, res) => {
    const { resourceSpans } = (await json(req)) as Export;
    for (const { resource, scopeSpans } of resourceSpans) {
      requests.push({ url: req.url, headers: req.headers, service: valuesOf(resource.attributes)['service.name'] });
      for (const span of scopeSpans.flatMap((scope) => scope.spans)) {
        spans.push({ ...span, attributes: valuesOf(span.attributes), raw: span });
      }
    }
    res.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  const port = await listen(server);
  onTestFinished(() => endServer(server));
  return { endpoint: `http://127.0.0.1:${port}`, spans, requests };
}

function valuesOf(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
