import type { SecureContext } from 'node:tls';
import { type Answer, ask, errorCode, parseJson } from './ask.ts';
import { compareClock } from './clock.ts';
import { type DoctorConfig, type Finding, ok, problem, warning } from './finding.ts';

export type IssuerCheck = {
  findings: Finding[];
  /** Whether what answers there is this server, as far as discovery tells. */
  reached: boolean;
  /** The certificate is not to be trusted; what else there is to find is looked for all the same. */
  untrusted: boolean;
};

const dayMs = 24 * 60 * 60 * 1000;

/** Asks for discovery as a client would: name, connection, certificate, answer, addresses in it, clock. */
export async function checkIssuer(config: DoctorConfig, trust?: SecureContext): Promise<IssuerCheck> {
  const url = `${config.issuer}/.well-known/openid-configuration`;
  const findings: Finding[] = [];
  let untrusted = false;
  let answer: Answer;
  try {
    answer = await ask(url, { trust });
  } catch (error) {
    const code = errorCode(error);
    const distrust = certificateProblem(code, config);
    if (!distrust) return { findings: [await unreached(code, config)], reached: false, untrusted };
    findings.push(distrust);
    untrusted = true;
    try {
      answer = await ask(url, { insecure: true });
    } catch {
      return { findings, reached: false, untrusted };
    }
  }
  if (answer.certificateEndsAt && !untrusted) findings.push(checkCertificateEnd(answer.certificateEndsAt));
  const wrong = await checkDiscovery(answer, config);
  findings.push(wrong ?? ok('issuer', `${config.issuer} answers in ${Math.round(answer.tookMs)} ms.`));
  const date = Date.parse(answer.headers.date ?? '');
  // The header has whole seconds.
  if (!Number.isNaN(date)) {
    findings.push(
      compareClock('clock http', 'what answers at the issuer', date + 500 - answer.at, answer.tookMs / 2 + 500),
    );
  }
  return { findings, reached: wrong === undefined, untrusted };
}

function checkCertificateEnd(endsAt: Date): Finding {
  const days = Math.floor((endsAt.getTime() - Date.now()) / dayMs);
  const found = `The certificate ends on ${endsAt.toISOString().slice(0, 10)}, in ${days} days.`;
  if (days >= 14) return ok('certificate', found);
  return (days >= 3 ? warning : problem)('certificate', found, 'Renew it, and see why that did not happen by itself.');
}

function certificateProblem(code: string, { origin }: DoctorConfig): Finding | undefined {
  const { hostname } = new URL(origin);
  const rows: Record<string, [found: string, fix: string]> = {
    CERT_HAS_EXPIRED: ['The certificate has expired.', 'Renew it, and see why that did not happen by itself.'],
    CERT_NOT_YET_VALID: ['The certificate is not valid yet.', "Set this machine's clock, or get another certificate."],
    ERR_TLS_CERT_ALTNAME_INVALID: [
      `The certificate is not for ${hostname}.`,
      `Get one that names ${hostname}, or set OIDC_ISSUER to a name that it has.`,
    ],
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: [
      'The certificate comes without the one of its issuer.',
      'Let the proxy send the whole chain: with Let’s Encrypt that is fullchain.pem.',
    ],
  };
  const selfMade = [
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'SELF_SIGNED_CERT_IN_CHAIN',
    'UNABLE_TO_GET_ISSUER_CERT',
    'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  ];
  const own: [string, string] = [
    'The certificate is self-signed, or of an authority that nobody knows.',
    'Use one of a public authority; if clients trust an authority of your own, name its file with --ca-file.',
  ];
  const row = selfMade.includes(code) ? own : rows[code];
  return row && problem('certificate', ...row);
}

/** Why there was no answer: what can be told apart from here, with whether the server itself is up. */
async function unreached(code: string, config: DoctorConfig): Promise<Finding> {
  const { origin } = config;
  const { host, hostname } = new URL(origin);
  const alive = await isAlive(config);
  const own = `${config.host}:${config.port}`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return problem(
      'issuer',
      `The name ${hostname} does not resolve.`,
      `Make a DNS record for ${hostname}, or set OIDC_ISSUER to the name that people use.`,
    );
  }
  if (!alive) {
    return problem(
      'issuer',
      `No server answers, neither at ${origin} (${code}) nor at ${own}.`,
      'Start it with `npm start`; what it prints says why it ended, if it did.',
    );
  }
  if (/EPROTO|WRONG_VERSION_NUMBER|PACKET_LENGTH/.test(code)) {
    return problem(
      'issuer',
      `What listens at ${host} does not speak TLS, but OIDC_ISSUER says https.`,
      'Let the proxy terminate TLS there, or set TLS_CERT_FILE and TLS_KEY_FILE.',
    );
  }
  return problem(
    'issuer',
    `Nothing answers at ${origin} (${code}), though the server runs on ${own}.`,
    `Let the proxy for ${host} run and pass requests on to ${own}, open the firewall, or set OIDC_ISSUER right.`,
  );
}

async function isAlive({ host, port, tls }: DoctorConfig): Promise<boolean> {
  const reachable =
    host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host;
  try {
    return (await ask(`${tls ? 'https' : 'http'}://${reachable}:${port}/livez`, { insecure: true })).status === 200;
  } catch {
    return false;
  }
}

async function checkDiscovery(answer: Answer, config: DoctorConfig): Promise<Finding | undefined> {
  const { status, headers, body } = answer;
  const { origin, issuer } = config;
  const { host } = new URL(origin);
  if (status >= 300 && status < 400) {
    const target = URL.canParse(headers.location ?? '', origin) ? new URL(headers.location ?? '', origin).origin : '';
    const elsewhere = `The issuer answers with a redirect to ${target || 'another place'}.`;
    return problem(
      'issuer',
      elsewhere,
      `Set OIDC_ISSUER=${target || '<the origin that people use>'}: clients follow none.`,
    );
  }
  if (status >= 500) {
    const up = await isAlive(config);
    return problem(
      'issuer',
      `What answers at ${host} says ${status}${up ? ', though the server runs' : ''}.`,
      up ? `Let the proxy pass requests on to ${config.host}:${config.port}.` : 'Start the server with `npm start`.',
    );
  }
  const metadata = status === 200 ? parseJson(body) : undefined;
  if (typeof metadata?.issuer !== 'string') {
    return problem(
      'issuer',
      `What answers at ${host} is not this server (status ${status}).`,
      `Let the proxy pass all of ${host} on to ${config.host}:${config.port}, paths unchanged, or set OIDC_ISSUER right.`,
    );
  }
  if (metadata.issuer !== issuer) {
    return problem(
      'issuer',
      `The server there calls itself ${String(metadata.issuer)}, not ${issuer}.`,
      'Give the server and this command the same OIDC_ISSUER, and let its name lead to the server.',
    );
  }
  const strays = Object.entries(metadata).filter(
    ([name, value]) =>
      /(_endpoint|^jwks_uri)$/.test(name) && typeof value === 'string' && !value.startsWith(`${origin}/`),
  );
  if (strays.length === 0) return undefined;
  return problem(
    'issuer',
    `Discovery names other places than ${origin}: ${strays.map(([name]) => name).join(', ')}.`,
    'Let nothing rewrite the answers of the server.',
  );
}
