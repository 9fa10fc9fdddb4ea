// What the components of every framework do; each has a test file that says how it is mounted.
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ServiceRequest } from '../src/index.js';
import { configure, startAppSync, type AppSync } from './appsync.js';
import { eventually } from './waiting.js';

export interface Inputs {
  readonly requestId?: string;
  readonly serviceId?: string;
  readonly providerId?: string;
  readonly timeoutSeconds?: number;
  readonly serviceName?: (id: string) => string;
  readonly personName?: (id: string) => string;
}

/** A component on a page. */
export interface Mounted {
  readonly page: HTMLElement;
  readonly show: (requestId: string) => void;
  /** The request that it shows, as the app around it knows it. */
  readonly requestId: () => string | undefined;
  readonly remove: () => void;
}

type Stored = Partial<Record<keyof ServiceRequest, unknown>>;

export function tellStories(mount: (inputs: Inputs) => Mounted): void {
  let server: AppSync;
  let user: string;
  let stored: Stored;
  let mounted: Mounted;

  beforeEach(async () => {
    server = await startAppSync();
    user = 'alice';
    stored = {
      id: 'r1',
      serviceId: 'gardening',
      requesterId: 'alice',
      providerId: 'bob',
      estimatedHours: 2.5,
      status: 'AWAITING_PROVIDER',
      createdAt: '2026-01-01T00:00:00.000Z',
      updatedAt: '2026-01-01T00:00:00.000Z',
    };
    configure(server.url, () => user);
    server.script.answer = ({ query, variables }) => {
      const name = /\b(get|create|update)ServiceRequest/.exec(query)![1]!;
      stored = { ...stored, ...(variables['input'] as Stored | undefined) };
      return { body: { data: { [`${name}ServiceRequest`]: stored } } };
    };
  });
  afterEach(async () => {
    mounted.remove();
    await server.close();
  });

  const show = async (inputs: Inputs): Promise<void> => {
    mounted = mount(inputs);
    const first = inputs.requestId === undefined ? 'input' : '[role=status]';
    await eventually(() => expect(page().querySelector(first)).not.toBeNull());
  };
  const page = (): HTMLElement => mounted.page;
  const text = (selector: string): string => page().querySelector(selector)?.textContent?.trim() ?? '';
  const buttons = (): string[] => [...page().querySelectorAll('button')].map((button) => button.textContent!.trim());
  const press = (name: string): void =>
    [...page().querySelectorAll('button')].find((button) => button.textContent!.trim() === name)!.click();
  const rows = (): Record<string, string | undefined> =>
    Object.fromEntries(
      [...page().querySelectorAll('dt')].map((term) => [term.textContent, term.nextElementSibling?.textContent]),
    );
  const field = (): HTMLInputElement => page().querySelector('input')!;
  const type = (value: string): void => {
    // as a browser does it, past what a framework may have put on the element itself
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')!.set!.call(field(), value);
    field().dispatchEvent(new Event('input', { bubbles: true }));
  };
  const enter = (value: string): void => {
    type(value);
    page()
      .querySelector('form')!
      .dispatchEvent(new Event('submit', { bubbles: true, cancelable: true }));
  };

  test('asks for a service, then shows how the request stands', async () => {
    await show({ serviceId: 'gardening', providerId: 'bob', timeoutSeconds: 3600 });
    expect(buttons()).toEqual(['Request the service']);
    // what the stylesheet goes by
    expect(page().querySelector('button')!.dataset['act']).toBe('ask');
    enter('2.5');
    await eventually(() => expect(text('[aria-current=step]')).toBe('Provider asked'));

    expect(server.calls[0]!.variables).toEqual({
      input: {
        id: mounted.requestId(),
        serviceId: 'gardening',
        requesterId: 'alice',
        providerId: 'bob',
        estimatedHours: 2.5,
        providerResponseTimeoutSeconds: 3600,
      },
    });
    expect([...page().querySelectorAll('li')].map((step) => `${step.className}: ${step.textContent?.trim()}`)).toEqual([
      'done: Request sent',
      'done: Hours held',
      'current: Provider asked',
      'ahead: Service in progress',
      'ahead: Service received, hours paid',
    ]);
    expect(text('[role=status]')).toBe('Provider asked');
    expect(buttons()).toEqual(['Cancel the request']);
    // the button that had the focus is gone
    expect(document.activeElement).toBe(page().querySelector('.hourbank') ?? page());
  });

  test('names the service, and the other person', async () => {
    const names = { serviceName: (id: string) => id.toUpperCase(), personName: (id: string) => `${id}!` };
    await show({ serviceId: 'cooking', providerId: 'bob', ...names });
    expect(rows()).toEqual({ Service: 'COOKING', Provider: 'bob!' });
    mounted.show('r1');
    await eventually(() => expect(rows()).toEqual({ Service: 'GARDENING', Provider: 'bob!', Hours: '2.5' }));
    mounted.remove();
    user = 'bob';
    await show({ requestId: 'r1', ...names });
    await eventually(() => expect(rows()).toEqual({ Service: 'GARDENING', Requester: 'alice!', Hours: '2.5' }));
  });

  test('shows no person whom the app cannot name', async () => {
    await show({ requestId: 'r1' });
    await eventually(() => expect(rows()).toEqual({ Service: 'gardening', Hours: '2.5' }));
  });

  test('what went wrong with one request is not told of another', async () => {
    user = 'bob';
    await show({ requestId: 'r1' });
    await eventually(() => expect(buttons()).toContain('Make a counter-offer'));
    enter('1.000');
    await eventually(() => expect(text('[role=alert]')).toMatch(/could mean/));
    mounted.show('r2');
    await eventually(() => expect(text('[role=alert]')).toBe(''));
    await eventually(() => expect(buttons()).toContain('Make a counter-offer'));
    expect([field().value, field().getAttribute('aria-invalid')]).toEqual(['', 'false']);
  });

  test.each(['0,5', '0.5', ' 0,50 h', '\u0660\u066b\u0665'])('takes %j for half an hour', async (hours) => {
    await show({ serviceId: 'gardening', providerId: 'bob' });
    // a field for numbers would drop the comma, or not, by the browser's language
    expect([field().type, field().inputMode]).toEqual(['text', 'decimal']);
    enter(hours);
    await eventually(() => expect(text('[aria-current=step]')).toBe('Provider asked'));
    expect(server.calls[0]!.variables).toMatchObject({ input: { estimatedHours: 0.5 } });
  });

  test.each([
    ['1,000', /^"1,000" could mean 1000 or 1:/],
    ['0.001', /at most 2 decimals/],
    ['', /are missing/],
  ])('tells what is wrong with %j hours, at the field', async (hours, words) => {
    await show({ serviceId: 'gardening', providerId: 'bob' });
    expect(field().getAttribute('aria-invalid')).toBe('false');
    enter(hours);
    await eventually(() => expect(text('[role=alert]')).toMatch(words));
    expect(field().getAttribute('aria-invalid')).toBe('true');
    expect(field().getAttribute('aria-describedby')).toBe(page().querySelector('[role=alert]')!.id);
    expect(document.activeElement).toBe(field());
    expect(server.calls).toEqual([]);
    expect(buttons()).toEqual(['Request the service']);

    type('2');
    await eventually(() => expect(text('[role=alert]')).toBe(''));
    expect([field().getAttribute('aria-invalid'), field().getAttribute('aria-describedby')]).toEqual(['false', null]);
  });

  test("an offer's hours are read, and refused, alike", async () => {
    user = 'bob';
    await show({ requestId: 'r1' });
    await eventually(() => expect(buttons()).toContain('Make a counter-offer'));
    enter('1.000');
    await eventually(() => expect(text('[role=alert]')).toMatch(/could mean 1000 or 1:/));
    expect(field().getAttribute('aria-invalid')).toBe('true');
    enter('3,25');
    await eventually(() => expect(stored).toMatchObject({ counterOfferHours: 3.25 }));
    expect(text('[role=alert]')).toBe('');
  });

  test('asks once although the answer was lost and the hours were changed', async () => {
    const answer = server.script.answer;
    let isThere = false;
    server.script.answer = (call) => {
      if (!call.query.includes('createServiceRequest')) return answer(call);
      if (isThere) return { body: { data: null, errors: [{ errorType: 'DynamoDB:ConditionalCheckFailedException' }] } };
      isThere = true;
      answer(call);
      return { status: 400, body: 'lost' };
    };
    await show({ serviceId: 'gardening', providerId: 'bob' });
    enter('2');
    await eventually(() => expect(text('[role=alert]')).toMatch(/not understood/));
    enter('3');
    await eventually(() => expect(rows()).toMatchObject({ Hours: '2' }));
  });

  test('the provider makes a counter-offer', async () => {
    user = 'bob';
    await show({ requestId: 'r1' });
    await eventually(() => expect(buttons()).toEqual(['Accept', 'Decline', 'Make a counter-offer']));
    const acts = [...page().querySelectorAll('button')].map((button) => button.dataset['act']);
    expect(acts).toEqual(['accept', 'decline', 'counterOffer']);
    enter('3.25');
    await eventually(() => expect(buttons()).toEqual([]));
    expect(stored).toMatchObject({ providerResponse: 'COUNTER_OFFER', counterOfferHours: 3.25 });
  });

  test.each([
    ['alice', 'NEGOTIATING', 'Accept the counter-offer', { requesterResponse: 'ACCEPTED' }],
    ['alice', 'NEGOTIATING', 'Decline the counter-offer', { requesterResponse: 'REJECTED' }],
    ['alice', 'IN_PROGRESS', 'Confirm that the service was received', { requesterResponse: 'COMPLETED' }],
    ['bob', 'IN_PROGRESS', 'Give up the service', { providerResponse: 'WITHDRAWN' }],
    ['bob', 'AWAITING_PROVIDER', 'Accept', { providerResponse: 'ACCEPTED' }],
    ['alice', 'AWAITING_PROVIDER', 'Cancel the request', { requesterResponse: 'CANCELLED' }],
  ])('%s in %s: %s', async (who, status, name, written) => {
    user = who;
    stored = { ...stored, status, offeredHours: status === 'NEGOTIATING' ? 3 : null };
    await show({ requestId: 'r1' });
    await eventually(() => expect(buttons()).toContain(name));
    press(name);
    await eventually(() => expect(stored).toMatchObject(written));
  });

  test('shows the end and its reason', async () => {
    stored = { ...stored, status: 'TIMED_OUT', failureReason: 'The provider did not answer in time' };
    await show({ requestId: 'r1' });
    await eventually(() => expect(text('[role=status]')).toBe('Not answered in time'));
    expect(page().textContent).toContain('The provider did not answer in time');
    expect(buttons()).toEqual([]);
  });

  test('says that the server cannot be reached, and goes on', async () => {
    const answer = server.script.answer;
    // not 'cut': happy-dom would print it
    server.script.answer = () => ({ status: 408, body: {} });
    await show({ requestId: 'r1' });
    await eventually(() => expect(text('[role=status]')).toMatch(/cannot be reached/));
    server.script.answer = answer;
    window.dispatchEvent(new Event('online'));
    await eventually(() => expect(text('[role=status]')).toBe('Provider asked'));
  });

  test('says what does not pass, and tries again when asked', async () => {
    const answer = server.script.answer;
    server.script.answer = () => ({ status: 401, body: {} });
    await show({ requestId: 'r1' });
    await eventually(() => expect(text('[role=alert]')).toMatch(/signed out/));
    server.script.answer = answer;
    press('Try again');
    await eventually(() => expect(text('[role=status]')).toBe('Provider asked'));
    expect(text('[role=alert]')).toBe('');
  });

  test('follows another request when it is given one, and nothing once it is removed', async () => {
    const asked = (id: string) => server.calls.filter(({ variables }) => variables['id'] === id).length;
    await show({ requestId: 'r1' });
    await eventually(() => expect(asked('r1')).toBe(1));
    mounted.show('r2');
    await eventually(() => expect(asked('r2')).toBe(1));
    mounted.remove();
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect([asked('r1'), asked('r2')]).toEqual([1, 1]);
  });
}
