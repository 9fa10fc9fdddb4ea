// @vitest-environment happy-dom
// on what ngc made of react/, which `npm run build` puts into dist
import { Component, StrictMode, useState, type ReactElement, type ReactNode } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  AnswerRequest,
  AskForService,
  FollowRequest,
  HourBankProvider,
  ServiceRequest,
  useBalance,
  useRequest,
  useRequests,
} from '../dist/react/index.js';
import { createHourBank, type HourBank } from '../dist/src/index.js';
import { configure, startAppSync, type AppSync } from './appsync.js';
import { tellStories, type Inputs } from './component-stories.js';
import { eventually } from './waiting.js';

function mount(element: ReactElement): { page: HTMLElement; root: Root } {
  const page = document.createElement('div');
  document.body.append(page);
  const root = createRoot(page);
  root.render(<StrictMode>{element}</StrictMode>);
  return { page, root };
}

tellStories((inputs) => {
  let shown: string | undefined;
  let show: (requestId: string) => void = () => undefined;
  function App({ requestId, serviceId = '', providerId = '', ...more }: Inputs): ReactElement {
    const [now, setNow] = useState(requestId);
    [shown, show] = [now, setNow];
    return (
      <ServiceRequest
        serviceId={serviceId}
        providerId={providerId}
        requestId={now}
        onRequestId={setNow}
        {...more}
      />
    );
  }
  const { page, root } = mount(<App {...inputs} />);
  return {
    page,
    show: (requestId) => show(requestId),
    requestId: () => shown,
    remove: () => {
      root.unmount();
      page.remove();
    },
  };
});

describe('each part alone', () => {
  let server: AppSync;
  let user: string;
  let stored: Record<string, unknown>;
  let root: Root;
  let page: HTMLElement;

  beforeEach(async () => {
    server = await startAppSync();
    user = 'bob';
    stored = {
      ...{ id: 'r1', serviceId: 'gardening', requesterId: 'alice', providerId: 'bob', estimatedHours: 2 },
      ...{ status: 'AWAITING_PROVIDER', createdAt: '2026-01-01T00:00:00.000Z', updatedAt: '2026-01-01T00:00:00.000Z' },
    };
    configure(server.url, () => user);
    server.script.answer = ({ query, variables }) => {
      const [name] = /(get|create|update|list)(ServiceRequests?|UserBalance)/.exec(query)!;
      if (name === 'getUserBalance') return { body: { data: { getUserBalance: { availableBalance: 7.5 } } } };
      if (name === 'listServiceRequests') return { body: { data: { [name]: { items: [stored], nextToken: null } } } };
      stored = { ...stored, ...(variables['input'] as object | undefined) };
      return { body: { data: { [name]: stored } } };
    };
  });
  afterEach(async () => {
    root.unmount();
    page.remove();
    await server.close();
  });
  const show = (element: ReactElement): void => void ({ page, root } = mount(element));
  const press = (name: string): void =>
    [...page.querySelectorAll('button')].find((button) => button.textContent === name)!.click();

  test('the form asks, and says which request is there', async () => {
    user = 'alice';
    const onAsked = vi.fn();
    show(<AskForService serviceId="gardening" providerId="bob" onAsked={onAsked} />);
    await eventually(() => expect(page.querySelector('input')).not.toBeNull());
    page.querySelector('input')!.value = '1,5';
    press('Request the service');
    await eventually(() => expect(onAsked).toHaveBeenCalledWith(stored['id']));
    expect(stored).toMatchObject({ estimatedHours: 1.5, providerId: 'bob' });
  });

  test('who follows and who answers look at one reading, and both see what was said', async () => {
    show(
      <>
        <FollowRequest requestId="r1" />
        <AnswerRequest requestId="r1" />
      </>,
    );
    await eventually(() => expect(page.textContent).toContain('Accept'));
    expect(page.querySelector('[role=status]')?.textContent).toBe('Provider asked');
    // StrictMode begins twice
    expect(server.calls.length).toBeLessThanOrEqual(2);
    press('Accept');
    await eventually(() => expect(stored).toMatchObject({ providerResponse: 'ACCEPTED' }));
    await eventually(() => expect(page.querySelectorAll('button')).toHaveLength(0));
  });

  test('hooks: a request, an inbox, the balance', async () => {
    function Inbox(): ReactElement {
      const { requests, error } = useRequests({ role: 'provider', status: 'AWAITING_PROVIDER' });
      const { hours } = useBalance();
      const { request, say } = useRequest(requests?.[0]?.request.id);
      return (
        <button onClick={() => void say('decline')}>
          {error?.kind} {requests?.length} {hours} {request?.status} {request?.providerResponse}
        </button>
      );
    }
    show(<Inbox />);
    await eventually(() => expect(page.textContent).toMatch(/1 7.5 AWAITING_PROVIDER/));
    page.querySelector('button')!.click();
    await eventually(() => expect(page.textContent).toMatch(/REJECTED/));
  });

  test('a client of the app', async () => {
    const read = vi.fn();
    const own: HourBank = {
      ...createHourBank(),
      async *watch(id) {
        read(id);
      },
    };
    show(
      <HourBankProvider hourBank={own}>
        <FollowRequest requestId="r1" />
      </HourBankProvider>,
    );
    await eventually(() => expect(read).toHaveBeenCalledWith('r1'));
    expect(server.calls).toEqual([]);
  });

  test('a mistake in the program is for the error boundary', async () => {
    class Boundary extends Component<{ children: ReactNode }> {
      static getDerivedStateFromError = (error: Error) => ({ error });
      override state: { error?: Error } = {};
      override render = () => this.state.error?.message ?? this.props.children;
    }
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const own: HourBank = {
      ...createHourBank(),
      async *watch() {
        throw new Error('a mistake');
      },
    };
    show(
      <Boundary>
        <HourBankProvider hourBank={own}>
          <AnswerRequest requestId="r1" />
        </HourBankProvider>
      </Boundary>,
    );
    await eventually(() => expect(page.textContent).toBe('a mistake'));
  });

  test('on a server nothing is read, and the page says that it loads', () => {
    show(<p />);
    expect(renderToString(<FollowRequest requestId="r1" />)).toContain('Loading the request');
    expect(renderToString(<AskForService serviceId="s" providerId="bob" />)).toContain('Request the service');
    expect(server.calls).toEqual([]);
  });
});
