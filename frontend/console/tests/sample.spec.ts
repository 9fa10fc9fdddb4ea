import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { BrowserContextOptions, Locator, Page } from '@playwright/test';

import { test as base, expect, expectAccessible, PROJECT, Bank } from './bank';
import { HANGS_MS } from '../../test/hangs';

const APP = join(PROJECT, 'examples/app');

/** The sample app, started as its page says, and what it needs to know of a local run. */
class App {
  private constructor(
    private readonly process: ChildProcess,
    readonly address: string,
  ) {}

  /** @param state - The local run's HOURBANK_STATE. */
  static async start(script: 'start' | 'dev', state: string): Promise<App> {
    // a group of its own: npm leaves vite behind
    const child = spawn('npm', ['--prefix', APP, 'run', script, '--', '--port', '0'], {
      env: { ...process.env, HOURBANK_STATE: state, NO_COLOR: '1', FORCE_COLOR: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let printed = '';
    const address = await new Promise<string>((resolve, reject) => {
      const hear = (text: Buffer): void => {
        printed += text;
        const [, found] = /Local:\s+(http:\S+?)\/\s/.exec(printed) ?? [];
        if (found) resolve(found);
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      child.once('exit', () => reject(new Error(`the sample app did not start:\n${printed}`)));
    });
    return new App(child, address);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    process.kill(-this.process.pid!, 'SIGTERM');
    await ended;
  }
}

/** One person's window with the sample app in it. */
class Person {
  constructor(readonly page: Page) {}

  async ask(service: string, whom: string, hours: string): Promise<void> {
    await this.page.getByLabel('What for').selectOption({ label: service });
    await this.page.getByLabel('Whom').selectOption({ label: whom });
    await this.page.getByLabel('Hours', { exact: true }).fill(hours);
    await this.page.getByRole('button', { name: 'Request the service' }).click();
  }

  request(service: string): Locator {
    return this.page.getByRole('listitem').filter({ has: this.page.getByRole('definition').getByText(service) });
  }

  async do(service: string, act: string): Promise<void> {
    await this.request(service).getByRole('button', { name: act, exact: true }).click();
  }

  async expectStatus(service: string, words: string): Promise<void> {
    await expect(this.request(service).getByRole('status')).toHaveText(words);
  }

  async expectHours(hours: number): Promise<void> {
    await expect(this.page.getByRole('banner').getByRole('status')).toHaveText(`You have ${hours} h.`);
  }
}

interface Fixtures {
  /** Opens a window and chooses a person in it; what the page complains of fails the test. */
  enter: (person: string, options?: BrowserContextOptions) => Promise<Person>;
}

// a bank of its own: other specs ask for the same services
const test = base.extend<Fixtures, { ownBank: Bank; app: App }>({
  ownBank: [
    async ({}, use) => {
      const bank = await Bank.open();
      await use(bank);
      await bank.close();
    },
    { scope: 'worker', timeout: HANGS_MS },
  ],
  app: [
    async ({ ownBank }, use) => {
      const app = await App.start('start', ownBank.state);
      await use(app);
      await app.stop();
    },
    { scope: 'worker', timeout: HANGS_MS },
  ],
  enter: async ({ browser, app }, use) => {
    const complaints: string[] = [];
    const contexts: { close: () => Promise<void> }[] = [];
    await use(async (person, options) => {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
      contexts.push(context);
      const page = await context.newPage();
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(`${person}: ${message.text()}`);
      });
      page.on('pageerror', (error) => complaints.push(`${person}: ${error.stack}`));
      await page.goto(app.address);
      await page.getByRole('link', { name: person, exact: true }).click();
      await expect(page.getByRole('banner')).toContainText(`You are ${person}.`);
      return new Person(page);
    });
    for (const context of contexts) await context.close();
    expect(complaints, 'what the pages complained of').toEqual([]);
  },
});

test('two people at once: asked, accepted, confirmed, paid', async ({ enter }) => {
  const [ana, ben] = [await enter('ana'), await enter('ben')];
  await ana.expectHours(10);
  await ben.expectHours(10);
  await expectAccessible(ana.page, 10);

  await ana.ask('Help in the garden', 'ben', '2,5');
  await ana.expectStatus('Help in the garden', 'Provider asked');
  await ana.expectHours(7.5);
  await ben.do('Help in the garden', 'Accept');
  await ana.do('Help in the garden', 'Confirm that the service was received');

  await ana.expectStatus('Help in the garden', 'Service received, hours paid');
  await ben.expectStatus('Help in the garden', 'Service received, hours paid');
  await ben.expectHours(12.5);
  await ana.expectHours(7.5);
  await expectAccessible(ben.page, 10);
});

test('a counter-offer on a phone, in the dark: accepted, paid', async ({ enter }) => {
  const [ana, chloe] = [
    await enter('ana', { viewport: { width: 390, height: 800 }, colorScheme: 'dark' }),
    await enter('chloé', { viewport: { width: 390, height: 800 }, forcedColors: 'active' }),
  ];
  await ana.ask('A language lesson', 'chloé', '1');
  await chloe.request('A language lesson').getByLabel('Other hours').fill('1.75');
  await chloe.do('A language lesson', 'Make a counter-offer');
  await ana.expectStatus('A language lesson', 'Counter-offer made');
  for (const { page } of [ana, chloe]) {
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    await expectAccessible(page, 10);
  }
  await ana.do('A language lesson', 'Accept the counter-offer');
  await chloe.expectStatus('A language lesson', 'Service in progress');
  await ana.do('A language lesson', 'Confirm that the service was received');
  await chloe.expectHours(11.75);
});

test('declined, by somebody else in the same window: the hours are back', async ({ enter }) => {
  const window = await enter('ana');
  const balance = window.page.getByRole('banner').getByRole('status');
  await expect(balance).toHaveText(/ h\.$/);
  const before = (await balance.textContent())!;
  const become = async (person: string): Promise<void> => {
    await window.page.getByRole('button', { name: 'Sign out' }).click();
    await window.page.getByRole('link', { name: person, exact: true }).click();
  };
  await window.ask('A hand with moving', 'ben', '1');
  await window.expectStatus('A hand with moving', 'Provider asked');
  await become('ben');
  await window.do('A hand with moving', 'Decline');
  await window.expectStatus('A hand with moving', 'Declined');
  await become('ana');
  await window.expectStatus('A hand with moving', 'Declined');
  await expect(balance).toHaveText(before);
});

/** Lets the app find this file of Amplify's, or none, whatever is there: vite has made a list of what its glob finds. */
async function giveOutputs(page: Page, outputs: object | undefined): Promise<void> {
  await page.route('**/src/cloud.tsx', async (route) => {
    const response = await route.fetch();
    const script = await response.text();
    const body = script.replace(/Object\.values\(\[[^\]]*\]\)/, () => `[${JSON.stringify(outputs) ?? ''}]`);
    expect(body).not.toBe(script);
    await route.fulfill({ response, body });
  });
}

test('without a local run, and without a backend, the app says what to type', async ({ page, ownBank }) => {
  const emulator = await App.start('start', join(ownBank.state, 'of-nothing'));
  // the usual port may be another run's
  await page.route('**/local/config', (route) => route.abort());
  await page.goto(emulator.address);
  await expect(page.getByRole('alert')).toContainText('Type make up');
  await emulator.stop();

  const sandbox = await App.start('dev', ownBank.state);
  await giveOutputs(page, undefined);
  await page.goto(sandbox.address);
  await expect(page.getByRole('alert')).toContainText('Type npx ampx sandbox');

  await page.unroute('**/src/cloud.tsx');
  await giveOutputs(page, {
    version: '1.4',
    auth: { aws_region: 'eu-west-1', user_pool_id: 'eu-west-1_1', user_pool_client_id: '1', username_attributes: ['email'] },
    data: { aws_region: 'eu-west-1', url: 'https://example.com/graphql', default_authorization_type: 'AMAZON_COGNITO_USER_POOLS' },
  });
  await page.reload();
  await expect(page.getByRole('textbox', { name: 'Email' })).toBeVisible();
  await expect(page.getByRole('tab', { name: 'Create Account' })).toBeVisible();
  await sandbox.stop();
});
