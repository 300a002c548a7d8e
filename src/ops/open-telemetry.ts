/**
 * The only file that loads OpenTelemetry's packages (tracing.ts, when it is configured). Nothing of it is global: the span
 * of the request under way is handed on by a storage of this application's own.
 *
 * A span says what was done and how that ended. No address, id, parameter or message of an error is ever among its facts.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Attributes,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  NodeTracerProvider,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-node';
import { sqlState } from '../db/database.ts';
import { within } from '../lib/kept-for.ts';
import type { TokenRequest } from '../oidc/request-facts.ts';
import type { Tracing, TracingConfig } from './tracing.ts';

const exportTimeoutMs = 5_000;
const lastExportMs = 3_000;
const longestStatement = 4_000;

export function openTelemetry(config: TracingConfig, onError: (error: unknown) => void): Tracing {
  const outage = tellOnce(onError);
  const provider = new NodeTracerProvider({
    resource: resourceOf({ 'service.name': config.serviceName }),
    sampler: samplerOf(config),
    spanProcessors: [new BatchSpanProcessor(tellingFailures(exporterOf(config), outage))],
  });
  const tracer = provider.getTracer('latchkey');
  const current = new AsyncLocalStorage<Span>();

  function start(name: string, options: SpanOptions, parent = current.getStore()): Span {
    return tracer.startSpan(name, options, parent ? trace.setSpan(ROOT_CONTEXT, parent) : ROOT_CONTEXT);
  }

  /** What is part of a request that is traced, and of nothing else. */
  function startWithin(name: () => string, options: () => SpanOptions): Span | undefined {
    return current.getStore()?.isRecording() ? start(name(), options()) : undefined;
  }

  return {
    traceRequest(req, res, routeOf, next) {
      const method = req.method ?? '';
      const parent = parentOf(req.headers.traceparent);
      const span = start(method, { kind: SpanKind.SERVER, attributes: { 'http.request.method': method } }, parent);
      res.once('close', () => {
        const route = routeOf();
        span.updateName(`${method} ${route}`);
        span.setAttributes({
          'http.route': route,
          'http.response.status_code': res.statusCode,
          ...tokenFacts(res.locals),
        });
        if (res.statusCode >= 500 || !res.writableFinished) span.setStatus({ code: SpanStatusCode.ERROR });
        span.end();
      });
      current.run(span, next, span.spanContext().traceId);
    },

    startStatement(text) {
      const span = startWithin(
        () => nameOf(text),
        () => ({
          kind: SpanKind.CLIENT,
          attributes: { 'db.system.name': 'postgresql', 'db.query.text': text.slice(0, longestStatement) },
        }),
      );
      return (error) => {
        const state = error === undefined ? undefined : (sqlState(error) ?? 'unknown');
        end(span, state === undefined ? undefined : { 'db.response.status_code': state });
      };
    },

    startHash(operation) {
      const span = startWithin(
        () => `bcrypt ${operation}`,
        () => ({ kind: SpanKind.INTERNAL }),
      );
      return (outcome) => end(span, outcome === 'done' ? undefined : { 'error.type': outcome });
    },

    fetch: (fetch) => async (input, init) => {
      const { hostname } = new URL(String(input));
      const method = init?.method ?? 'GET';
      const attributes = { 'http.request.method': method, 'server.address': hostname };
      const span = start(method, { kind: SpanKind.CLIENT, attributes });
      try {
        const headers = Object.fromEntries(new Headers(init?.headers));
        const response = await fetch(input, { ...init, headers: { ...headers, traceparent: traceparentOf(span) } });
        span.setAttribute('http.response.status_code', response.status);
        end(span, response.status >= 400 ? { 'error.type': String(response.status) } : undefined);
        return response;
      } catch (error) {
        end(span, { 'error.type': error instanceof Error ? error.name : 'unknown' });
        throw error;
      }
    },

    close: () => within(lastExportMs, provider.shutdown()).catch(outage.began),
  };
}

function end(span: Span | undefined, failure: Attributes | undefined): void {
  if (!span) return;
  if (failure) span.setAttributes(failure).setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}

/** W3C Trace Context §3.2: who calls may have begun the trace. What it says beyond ids is not taken. */
function parentOf(traceparent: string | string[] | undefined): Span | undefined {
  const [, traceId = '', spanId = '', flags = ''] =
    /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/.exec(String(traceparent)) ?? [];
  const context = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
  return isSpanContextValid(context) ? trace.wrapSpanContext(context) : undefined;
}

function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-0${traceFlags & 1}`;
}

/** Statements hold places and no values (`$1`), since all of ours are written so. */
function nameOf(text: string): string {
  const [, verb = 'statement'] = /^\s*(\w+)/.exec(text) ?? [];
  const [, table] = /\b(?:from|into|update)\s+"?(\w+)"?/i.exec(text) ?? [];
  return [verb.toUpperCase(), table].filter(Boolean).join(' ');
}

function tokenFacts({ tokenRequest: request }: { tokenRequest?: TokenRequest }): Attributes {
  return request ? { 'latchkey.grant': request.grant, 'latchkey.outcome': request.outcome } : {};
}

function samplerOf({ sampler, ratio }: TracingConfig): Sampler {
  const [, parentBased, name] = /^(parentbased_)?(.*)$/.exec(sampler) ?? [];
  const roots = { always_on: AlwaysOnSampler, always_off: AlwaysOffSampler } as const;
  const root = name === 'traceidratio' ? new TraceIdRatioBasedSampler(ratio) : new roots[name as keyof typeof roots]();
  return parentBased ? new ParentBasedSampler({ root }) : root;
}

function exporterOf({ endpoint, headers }: TracingConfig): SpanExporter {
  return new OTLPTraceExporter({
    url: `${endpoint}/v1/traces`,
    headers: { ...headers },
    timeoutMillis: exportTimeoutMs,
  });
}

type Outage = { began(error: unknown): void; ended(): void };

/** Tells of an outage when it begins, not each time that something fails. */
function tellOnce(onError: (error: unknown) => void): Outage {
  let told = false;
  return {
    began(error) {
      if (!told) onError(error);
      told = true;
    },
    ended() {
      told = false;
    },
  };
}

/** Else nobody hears of what an exporter cannot send. */
function tellingFailures(exporter: SpanExporter, outage: Outage): SpanExporter {
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        if (result.error) outage.began(result.error);
        else outage.ended();
        done(result);
      });
    },
    shutdown: () => exporter.shutdown(),
  };
}

type Resource = NonNullable<NonNullable<ConstructorParameters<typeof NodeTracerProvider>[0]>['resource']>;

/** What the package of that name would make, which is not among ours. */
function resourceOf(attributes: Attributes): Resource {
  const resource: Resource = {
    attributes,
    merge: () => resource,
    getRawAttributes: () => Object.entries(attributes),
  };
  return resource;
}
