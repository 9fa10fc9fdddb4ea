import { expect, test, type Window } from './bank';

/** What the API answers to a query that the page's script sends with a person's own token. */
async function send(window: Window, person: string, query: string, variables: object = {}): Promise<unknown> {
  return window.page.evaluate(
    async ([person, query, variables]) => {
      const { people } = await (await fetch('local/config')).json();
      const { token } = people.find(({ userId }: { userId: string }) => userId === person);
      const answer = await fetch('graphql', {
        method: 'POST',
        headers: { Authorization: token, 'Content-Type': 'application/json' },
        body: JSON.stringify({ query, variables }),
      });
      return answer.json();
    },
    [person, query, variables] as const,
  );
}

const UPDATE = 'mutation ($input: UpdateServiceRequestInput!) { updateServiceRequest(input: $input) { id status } }';
const unauthorized = { errors: [expect.objectContaining({ errorType: 'Unauthorized' })] };

test('what is forbidden is refused, whatever a page sends', async ({ open }) => {
  const [ana, ben, chloe] = [await open('ana'), await open('ben'), await open('chloé')];
  const before = await ana.ledger();
  await ana.ask('Ben', 'A secret', '1');
  await ben.expectStatus('A secret', 'You are asked');
  // what her window shows comes later than what his does
  const held = { ...before, Ana: before['Ana']! - 1, Held: before['Held']! + 1 };
  await ana.expectLedger(held);
  const id = await ana.page.evaluate(async () => {
    const { escrows } = await (await fetch('local/ledger')).json();
    return escrows.find(({ status }: { status: string }) => status === 'HELD').id as string;
  });

  const tries: [Window, string, string, object][] = [
    // answering for the provider, as the requester and as a stranger
    [ana, 'ana', UPDATE, { input: { id, providerResponse: 'ACCEPTED' } }],
    [chloe, 'chloé', UPDATE, { input: { id, providerResponse: 'ACCEPTED' } }],
    // confirming as the provider, who would be paid
    [ben, 'ben', UPDATE, { input: { id, requesterResponse: 'COMPLETED' } }],
    // a field of one's own beside one of the other's
    [ben, 'ben', UPDATE, { input: { id, providerResponse: 'ACCEPTED', requesterResponse: 'COMPLETED' } }],
    // what the workflow alone writes
    [ben, 'ben', UPDATE, { input: { id, status: 'COMPLETED' } }],
    [ana, 'ana', UPDATE, { input: { id, estimatedHours: 0.5 } }],
    // asking in another's name, with another's hours
    [
      chloe,
      'chloé',
      'mutation ($input: CreateServiceRequestInput!) { createServiceRequest(input: $input) { id } }',
      { input: { serviceId: 'x', requesterId: 'ana', providerId: 'chloé', estimatedHours: 5 } },
    ],
    // reading another's request, and another's balance
    [chloe, 'chloé', 'query ($id: ID!) { getServiceRequest(id: $id) { id } }', { id }],
    [ben, 'ben', 'query { getUserBalance(userId: "ana") { availableBalance } }', {}],
  ];
  for (const [window, person, query, variables] of tries) {
    expect(await send(window, person, query, variables), JSON.stringify(variables)).toMatchObject(unauthorized);
  }

  // a stranger's list is empty, and nothing has happened to anything
  expect(await send(chloe, 'chloé', 'query { listServiceRequests { items { serviceId } } }')).toMatchObject({
    data: { listServiceRequests: { items: expect.not.arrayContaining([{ serviceId: 'A secret' }]) } },
  });
  await ana.expectStatus('A secret', 'Ben is asked');
  await ana.expectLedger(held);
  await ana.do('A secret', 'Cancel');
  await ana.expectStatus('A secret', 'Cancelled');
});

test('not enough hours: said before, and by the workflow', async ({ open }) => {
  const ana = await open('ana');
  const before = await ana.available();
  await ana.unfold();
  await ana.page.getByLabel('Hours', { exact: true }).fill('500');
  await expect(ana.page.getByText(`You have ${before} h: the workflow will say no.`)).toBeVisible();
  await ana.ask('Ben', 'A house to build', '500');
  await ana.expectStatus('A house to build', 'Not possible');
  await expect(ana.request('A house to build')).toContainText(
    'Not enough hours: 500 needed. No hours were held.',
  );
  await ana.expectPath('ServiceRequestWorkflow', 'ValidateRequest', 'RejectRequest');
  await ana.expectAvailable(before);
});

test('a counter-offer that one cannot pay ends the request, as the page says before', async ({ open }) => {
  const [ana, ben] = [await open('ana'), await open('ben')];
  const before = await ana.available();
  await ana.ask('Ben', 'A tower', '1');
  await ben.request('A tower').getByLabel('Or for other hours').fill('400');
  await ben.do('A tower', 'Counter-offer');
  await expect(ana.request('A tower')).toContainText(
    `399 h more of yours are held: you have ${before - 1} h, so the request would end, and 1 h come back to you.`,
  );
  await ana.do('A tower', 'Accept the offer');
  await ana.expectStatus('A tower', 'Declined');
  await expect(ana.request('A tower')).toContainText(/Not enough hours.*1 h went back to you/);
  await ana.expectAvailable(before);
});

test('an answer that comes too late is refused in words', async ({ open, bank }) => {
  const [ana, ben] = [await open('ana'), await open('ben')];
  const before = await ana.available();
  await ana.ask('Ben', 'A late letter', '1');
  const accept = ben.request('A late letter').getByRole('button', { name: 'Accept' });
  await expect(accept).toBeVisible();
  // Ben's window sees nothing new from here on
  let old: Buffer | undefined;
  let isBlind = (): void => undefined;
  const blind = new Promise<void>((resolve) => (isBlind = resolve));
  await ben.page.route('**/graphql', async (route) => {
    if (!route.request().postData()?.includes('listServiceRequests')) return route.continue();
    if (!old) {
      const answer = await route.fetch();
      old = await answer.body();
      isBlind();
    }
    return route.fulfill({ contentType: 'application/json', body: old });
  });
  await blind;
  bank.runOut('A late letter');
  await ana.expectStatus('A late letter', 'Timed out');
  await accept.click();
  const refusal = ben.request('A late letter').getByRole('alert');
  await expect(refusal).toHaveText('This cannot be done any more: the request has ended.');
  await ben.page.unroute('**/graphql');
  await ben.expectStatus('A late letter', 'Timed out');
  await expect(refusal).toBeVisible();
  await ana.expectAvailable(before);
});

test('without the server the page says so, and goes on when it is back', async ({ open }) => {
  const ana = await open('ana', { mayComplain: /ERR_INTERNET_DISCONNECTED/ });
  await ana.page.context().setOffline(true);
  await expect(ana.page.getByRole('alert')).toContainText('The server does not answer.');
  await ana.unfold();
  await ana.page.getByRole('button', { name: 'Ask Ben', exact: true }).click();
  await expect(ana.page.getByRole('alert').filter({ hasText: 'cannot be reached' })).toBeVisible();
  await ana.page.context().setOffline(false);
  await expect(ana.page.getByRole('alert').filter({ hasText: 'does not answer' })).toHaveCount(0);
});
