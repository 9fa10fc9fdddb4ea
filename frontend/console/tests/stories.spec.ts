import { expect, test } from './bank';

const ASKED = ['ValidateRequest', 'EscrowHours', 'WaitForProviderResponse'];

test('accepted, confirmed, paid: both workflows and the ledger move with it', async ({ open }) => {
  const [ana, ben] = [await open('ana'), await open('ben')];
  const before = await ana.ledger();
  const changes = await ana.changes();

  await ana.ask('Ben', 'A wall to paint', '2.5');

  await expect.poll(changes).toEqual(expect.arrayContaining(['▼ −2.5', '▲ +2.5']));
  await ana.expectStatus('A wall to paint', 'Ben is asked');
  await expect(ana.state('WaitForProviderResponse')).toHaveClass(/current/);
  await expect(ana.state('EscrowHours')).toHaveClass(/taken/);
  await expect(ana.state('StartServiceExecution')).not.toHaveClass(/taken/);
  await expect(ana.request('A wall to paint').getByRole('timer')).toHaveText(/^1\d:\d\d left$/);
  await ana.expectAvailable(before['Ana']! - 2.5);
  await ana.expectLedger({ ...before, Ana: before['Ana']! - 2.5, Held: before['Held']! + 2.5 });

  await expect(ben.request('A wall to paint')).toContainText('2.5 h stay held, and become yours when Ana confirms.');
  await ben.do('A wall to paint', 'Accept');

  await ana.expectStatus('A wall to paint', 'In progress');
  await ana.expectPath('ServiceRequestWorkflow', ...ASKED, 'CheckProviderResponse', 'StartServiceExecution');
  await expect(ana.state('WaitForProviderResponse')).not.toHaveClass(/current/);
  await expect(ana.page.locator('.edge.taken[data-from="CheckProviderResponse"]').first()).toHaveAttribute(
    'data-to',
    'StartServiceExecution',
  );
  await ana.do('A wall to paint', 'Confirm');

  await ben.expectStatus('A wall to paint', 'Done and paid');
  await expect(ben.request('A wall to paint')).toContainText('2.5 h went from Ana to you.');
  await ben.expectPath('EscrowManagementWorkflow', 'ValidateEscrowRelease', 'CheckDecision', 'ProcessEscrowRelease');
  await expect(ben.state('ProcessEscrowRelease', 'EscrowManagementWorkflow')).toHaveClass(/taken/);
  await ben.expectAvailable(before['Ben']! + 2.5);
  await ben.expectLedger({ ...before, Ana: before['Ana']! - 2.5, Ben: before['Ben']! + 2.5 });
  await expect(ben.page.getByRole('list', { name: 'Every move of hours' }).locator('li').first()).toContainText(
    /Paid.*2\.5 h.*escrow → Ben/,
  );
  await expect(ben.page.getByRole('list', { name: 'Every move of hours' }).locator('li').last()).toContainText(
    /Granted.*10 h.*the bank → .*for: first hours/,
  );
});

test('declined: the hours come back', async ({ open }) => {
  const [ana, ben] = [await open('ana'), await open('ben')];
  const before = await ana.ledger();
  await ana.ask('Ben', 'A bed to move', '1');
  await ben.do('A bed to move', 'Decline');

  await ana.expectStatus('A bed to move', 'Declined');
  await expect(ana.request('A bed to move')).toContainText('Ben declined. 1 h went back to you.');
  await ana.expectPath('ServiceRequestWorkflow', ...ASKED, 'CheckProviderResponse', 'RefundEscrow');
  await expect(ana.request('A bed to move').getByRole('list')).toHaveCount(0);
  await ana.expectAvailable(before['Ana']!);
  await ana.expectLedger(before);
});

test('a counter-offer, accepted: the hold becomes what was offered', async ({ open }) => {
  const [ana, chloe] = [await open('ana'), await open('chloé')];
  const before = await ana.ledger();
  await ana.ask('Chloé', 'A lesson', '1');
  await chloe.request('A lesson').getByLabel('Or for other hours').fill('1.75');
  await chloe.do('A lesson', 'Counter-offer');

  await ana.expectStatus('A lesson', 'Counter-offer');
  await expect(ana.request('A lesson')).toContainText('Chloé would do it for 1.75 h. You offered 1 h');
  await expect(ana.request('A lesson')).toContainText('0.75 h more of yours are held.');
  await expect(ana.state('ProcessNegotiation')).toHaveClass(/current/);
  await ana.do('A lesson', 'Accept the offer');

  await ana.expectStatus('A lesson', 'In progress');
  await ana.expectAvailable(before['Ana']! - 1.75);
  await ana.do('A lesson', 'Confirm');
  await chloe.expectStatus('A lesson', 'Done and paid');
  await chloe.expectAvailable(before['Chloé']! + 1.75);
  await chloe.expectPath(
    'ServiceRequestWorkflow',
    ...ASKED,
    'CheckProviderResponse',
    'ProcessNegotiation',
    'CheckRequesterResponse',
    'AdjustEscrow',
    'StartServiceExecution',
  );
});

test('a counter-offer, rejected: the hours come back', async ({ open }) => {
  const [ana, ben] = [await open('ana'), await open('ben')];
  const before = await ana.available();
  await ana.ask('Ben', 'A shelf', '1');
  await ben.request('A shelf').getByLabel('Or for other hours').fill('3');
  await ben.do('A shelf', 'Counter-offer');
  await ana.do('A shelf', 'Reject the offer');
  await ben.expectStatus('A shelf', 'Declined');
  await expect(ben.request('A shelf')).toContainText('Ana declined the counter-offer');
  await ana.expectAvailable(before);
});

test('cancelled before the provider has answered', async ({ open }) => {
  const [ben, ana] = [await open('ben'), await open('ana')];
  const before = await ben.available();
  await ben.ask('Ana', 'A ride', '2');
  await expect(ana.request('A ride').getByRole('button', { name: 'Accept' })).toBeVisible();
  await ben.do('A ride', 'Cancel');

  await ana.expectStatus('A ride', 'Cancelled');
  // who did it is told it as theirs
  await expect(ana.request('A ride')).toContainText('Ben cancelled. 2 h went back to Ben.');
  await expect(ben.request('A ride')).toContainText('You cancelled. 2 h went back to you.');
  await expect(ana.request('A ride').getByRole('button', { name: 'Accept' })).toHaveCount(0);
  await ben.expectAvailable(before);
});

test('withdrawn from while in progress: not paid', async ({ open }) => {
  const [ana, ben] = [await open('ana'), await open('ben')];
  const before = await ben.available();
  await ana.ask('Ben', 'A cake', '1');
  await ben.do('A cake', 'Accept');
  await expect(ben.request('A cake')).toContainText('1 h go back to Ana; you are not paid.');
  await ben.do('A cake', 'Withdraw');

  await ana.expectStatus('A cake', 'Cancelled');
  await expect(ana.request('A cake')).toContainText('Ben withdrew. 1 h went back to you.');
  await ana.expectPath('EscrowManagementWorkflow', 'ValidateEscrowRelease', 'CheckDecision', 'RefundEscrow');
  await ben.expectAvailable(before);
});

test('nobody answers: the time runs out, and the hours come back', async ({ open, bank }) => {
  const [ana, ben] = [await open('ana'), await open('ben')];
  const before = await ana.available();
  await ana.ask('Ben', 'A letter', '2');
  await expect(ben.request('A letter').getByRole('timer')).toHaveText(/^1\d:\d\d left$/);
  bank.runOut('A letter');

  await ana.expectStatus('A letter', 'Timed out');
  await expect(ana.request('A letter')).toContainText('Ben did not answer in time. 2 h went back to you.');
  await ana.expectPath('ServiceRequestWorkflow', ...ASKED, 'TimeoutRequest', 'CheckProviderResponse', 'TimedOut');
  await expect(ben.request('A letter').getByRole('button', { name: 'Accept' })).toHaveCount(0);
  await ana.expectAvailable(before);
});
