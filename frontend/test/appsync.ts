import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Amplify } from 'aws-amplify';
import { decodeJWT } from 'aws-amplify/auth';

export interface Call {
  readonly headers: IncomingHttpHeaders;
  readonly query: string;
  readonly variables: Record<string, unknown>;
}
/** What to answer: a status and a body, or `cut` to break the connection, or `hang` to say nothing. */
export type Answer = { status?: number; body: unknown } | 'cut' | 'hang';

export type AppSync = Awaited<ReturnType<typeof startAppSync>>;

/**
 * An HTTP server that answers as AppSync does, with whatever `script.answer` says. `calls` is what it was asked,
 * `script.unheard` how many calls ended without an answer.
 */
export async function startAppSync() {
  const calls: Call[] = [];
  const script = { answer: (_: Call): Answer => ({ body: { data: null } }), unheard: 0 };
  const server = createServer((request, response) => {
    // a browser's question before it sends a token elsewhere, and the answer that AppSync gives
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('access-control-allow-headers', request.headers['access-control-request-headers'] ?? '*');
    if (request.method === 'OPTIONS') return void response.end();
    response.on('close', () => (script.unheard += response.writableFinished ? 0 : 1));
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      const call = { headers: request.headers, ...(JSON.parse(text) as Omit<Call, 'headers'>) };
      calls.push(call);
      const answer = script.answer(call);
      if (answer === 'cut') request.socket.destroy();
      else if (answer !== 'hang') {
        response.writeHead(answer.status ?? 200, { 'content-type': 'application/json' });
        response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    calls,
    script,
    url: `http://127.0.0.1:${port}/graphql`,
    close: () => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve))),
  };
}

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Amplify as an app configures it; `sub` is who is signed in, if anybody is, `credentials` what AWS gave them. */
export function configure(
  url: string,
  sub: () => string | null,
  credentials?: { accessKeyId: string; secretAccessKey: string },
): void {
  Amplify.configure(
    { API: { GraphQL: { endpoint: url, region: 'eu-west-1', defaultAuthMode: 'apiKey', apiKey: 'not used' } } },
    {
      Auth: {
        tokenProvider: {
          async getTokens() {
            const now = sub();
            if (now === null) return null;
            const claims = { sub: now, exp: Math.floor(Date.now() / 1000) + 3600 };
            return { accessToken: decodeJWT(`${part({ alg: 'none' })}.${part(claims)}.`) };
          },
        },
        credentialsProvider: {
          getCredentialsAndIdentityId: async () => credentials && { credentials },
          clearCredentialsAndIdentityId: () => undefined,
        },
      },
    },
  );
}
