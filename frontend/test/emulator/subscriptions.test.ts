import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateClient } from 'aws-amplify/api';
import { fetchAuthSession } from 'aws-amplify/auth';
import { Hub } from 'aws-amplify/utils';
import ts from 'typescript';
import { beforeEach, expect, inject, test, vi } from 'vitest';
import { createHourBank, signedInUser, type Status } from '../../src/index.js';
import { configure } from '../appsync.js';
import { eventually } from '../waiting.js';

interface Told {
  readonly eventId: string;
  readonly type: string;
  readonly requestId: string;
  readonly userId: string;
  readonly status: Status;
}

const { console: address } = inject('deployment');
const bank = createHourBank();
const query = `subscription Mine($userId: ID!) {
  onRequestEvent(userId: $userId) { eventId type requestId userId status }
}`;
let user: string;

beforeEach(() => {
  user = 'ana';
  // in capitals: Amplify's client makes wss:// of http://
  configure(`${address.replace('http', 'HTTP')}/graphql`, () => user);
});

/** Waits until AppSync's place has acknowledged what `subscribe` subscribes to. */
async function acknowledged<Found>(subscribe: () => Found): Promise<Found> {
  let stop = () => {};
  const ack = new Promise<void>((resolve) => {
    stop = Hub.listen('api', ({ payload }) => payload.event === 'Subscription ack' && resolve());
  });
  const found = subscribe();
  await ack;
  stop();
  return found;
}

/** Amplify's own client, as an app uses it. */
function listen(userId: string, next: (told: Told) => void, error: (problem: unknown) => void = console.log) {
  const told = generateClient().graphql({ query, variables: { userId }, authMode: 'userPool' });
  if (!('subscribe' in told)) throw new Error('not a subscription');
  return told.subscribe({ next: ({ data }) => next((data as { onRequestEvent: Told }).onRequestEvent), error });
}

test('each person hears what is for them, in the shape that was asked for, until they stop', async () => {
  const heard: Record<string, Told[]> = { ana: [], ben: [] };
  const has = (who: string, requestId: string, status: Status) =>
    eventually(() => expect(heard[who]).toContainEqual(expect.objectContaining({ requestId, status })));
  // one socket, each subscription with the token of who is signed in
  const subscriptions = [];
  for (user of ['ana', 'ben']) {
    const who = user;
    subscriptions.push(await acknowledged(() => listen(who, (told) => heard[who]!.push(told))));
  }

  user = 'ana';
  const id = await bank.submitRequest({ serviceId: 'gardening', providerId: 'ben', hours: 1 });
  await has('ben', id, 'AWAITING_PROVIDER');
  user = 'ben';
  await bank.answer(id, { counterOffer: 2 });
  await has('ana', id, 'NEGOTIATING');
  user = 'ana';
  await bank.respond(id, 'acceptOffer');
  await has('ana', id, 'IN_PROGRESS');
  await bank.respond(id, 'confirm');
  await has('ana', id, 'COMPLETED');

  for (const [who, all] of Object.entries(heard)) {
    for (const told of all) {
      expect(told).toEqual({
        eventId: expect.stringMatching(`^${told.requestId}#${told.status}`),
        type: expect.any(String),
        requestId: expect.any(String),
        userId: who,
        status: expect.any(String),
      });
    }
  }
  for (const subscription of subscriptions) subscription.unsubscribe();
});

test('what is told to another cannot be subscribed to', async () => {
  const problem = await new Promise((resolve) => void listen('ben', () => resolve('an event'), resolve));
  expect(JSON.stringify(problem)).toMatch(/Unauthorized.*Not Authorized to access onRequestEvent/);
});

/** Runs the TypeScript of a page that subscribes; `given` are its imports and what else it does not declare. */
async function run(page: string, given: Record<string, unknown>, answer = ''): Promise<unknown> {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/app', page), 'utf8');
  const snippets = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code!);
  const subscribing = snippets.filter((code) => code.includes('subscription Mine'));
  expect(subscribing.length).toBe(1);
  const code = ts.transpileModule(subscribing[0]!.replaceAll(/^import .*$/gm, ''), {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  const AsyncFunction = run.constructor as new (...text: string[]) => (...given: unknown[]) => Promise<unknown>;
  const body = `${code.outputText.replace('export {};', '')}\n${answer}`;
  return new AsyncFunction(...Object.keys(given), body)(...Object.values(given));
}

test('what docs/app shows reads a request again when something is told of it', async () => {
  const readAgain = vi.fn();
  await acknowledged(() => run('subscriptions.md', { fetchAuthSession, generateClient, readAgain }));
  const given = { createHourBank, signedInUser, generateClient };
  const hourBank = await acknowledged(() => run('frontend.md', given, 'return hourBank;'));
  const refresh = vi.spyOn(hourBank as typeof bank, 'refresh');

  const id = await bank.submitRequest({ serviceId: 'gardening', providerId: 'ben', hours: 1000 });
  await eventually(() => expect(refresh).toHaveBeenCalledWith(id));
  await eventually(() => expect(readAgain).toHaveBeenCalledWith(id));
});
