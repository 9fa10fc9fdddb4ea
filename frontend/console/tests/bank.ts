import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  test as base,
  expect,
  type Browser,
  type BrowserContextOptions,
  type Locator,
  type Page,
} from '@playwright/test';
import axe from 'axe-core';
import { HANGS_MS } from '../../test/hangs';

export const PROJECT = join(import.meta.dirname, '../../..');

// what Step Functions does when the time to answer has run out
const RUN_OUT = `
import json, pathlib, sys
from hourbank.local.deployment import Deployment
from hourbank.local.tables import scan
state, service = sys.argv[1:]
deployment = Deployment(**json.loads(pathlib.Path(state, "up.json").read_text())["deployment"])
requests = scan(deployment.client("dynamodb"), deployment.tables["serviceRequest"])
(token,) = [request["taskToken"] for request in requests if request["serviceId"] == service]
states = deployment.client("stepfunctions")
states.send_task_failure(taskToken=token, error="States.Timeout", cause="a test skips the time")
`;

/** A `hourbank up` of its own: its address, and what it printed. */
export class Bank {
  private constructor(
    private readonly process: ChildProcess,
    readonly state: string,
    readonly address: string,
  ) {}

  static async open(): Promise<Bank> {
    const state = mkdtempSync(join(tmpdir(), 'hourbank-'));
    let printed = '';
    const child = spawn(join(PROJECT, '.venv/bin/hourbank'), ['up'], {
      cwd: PROJECT,
      env: { ...process.env, HOURBANK_STATE: state },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.on('data', (text) => (printed += text));
    child.stderr.on('data', (text) => (printed += text));
    for (const start = Date.now(); child.exitCode === null && Date.now() - start < HANGS_MS; await sleep(200)) {
      try {
        const { console: address } = JSON.parse(readFileSync(join(state, 'up.json'), 'utf8')) as { console: string };
        return new Bank(child, state, address);
      } catch {
        // not written yet
      }
    }
    child.kill('SIGTERM');
    throw new Error(`hourbank up did not start:\n${printed}`);
  }

  /** Lets the time run out now in which somebody may answer a request. */
  runOut(service: string): void {
    execFileSync(join(PROJECT, '.venv/bin/python'), ['-c', RUN_OUT, this.state, service], { cwd: PROJECT });
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGTERM');
    await ended;
    rmSync(this.state, { recursive: true, force: true });
  }
}

/** One person's window. */
export class Window {
  constructor(readonly page: Page) {}

  /** From now on, remembers how amounts change, which is shown for seconds; returns how to read it. */
  async changes(): Promise<() => Promise<string[]>> {
    const seen = await this.page.evaluateHandle(() => {
      const texts: string[] = [];
      const look = () => texts.push(...(document.body.innerText.match(/[▲▼] [+−][\d.]+/g) ?? []));
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
      return texts;
    });
    return () => seen.evaluate((texts) => texts);
  }

  /** Unfolds the form for a new request, which is folded while requests wait. */
  async unfold(): Promise<void> {
    const opener = this.page.getByRole('button', { name: 'Ask for a service' });
    if ((await opener.getAttribute('aria-expanded')) === 'false') await opener.click();
  }

  async ask(provider: string, service: string, hours: string): Promise<void> {
    const { page } = this;
    await this.unfold();
    await page.getByLabel('What for').fill(service);
    await page.getByLabel('Whom').selectOption({ label: provider });
    await page.getByLabel('Hours', { exact: true }).fill(hours);
    await page.getByRole('button', { name: `Ask ${provider}`, exact: true }).click();
    await expect(this.request(service)).toBeVisible();
  }

  request(service: string): Locator {
    return this.page.getByRole('article', { name: service });
  }

  /** Waits for the act to be possible, and does it. */
  async do(service: string, act: string): Promise<void> {
    await this.request(service).getByRole('button', { name: act, exact: true }).click();
  }

  async expectStatus(service: string, label: string): Promise<void> {
    await expect(this.request(service).locator('.badge')).toContainText(label);
  }

  /** What the window says this person has, in hours. */
  async available(): Promise<number> {
    const text = this.page.locator('.people input:checked + span small');
    await expect(text).toHaveText(/ h$/);
    return parseFloat((await text.textContent()) ?? '');
  }

  async expectAvailable(hours: number): Promise<void> {
    await expect(this.page.locator('.people input:checked + span small')).toHaveText(`${hours} h`);
  }

  /** The numbers of the ledger by their headings. */
  async ledger(): Promise<Record<string, number>> {
    const accounts = this.page.locator('.accounts');
    await expect(accounts).toBeVisible();
    const heads = await accounts.getByRole('term').allTextContents();
    const numbers = await accounts.getByRole('definition').allTextContents();
    return Object.fromEntries(heads.map((head, index) => [head, parseFloat(numbers[index] ?? '')]));
  }

  async expectLedger(numbers: Record<string, number>): Promise<void> {
    await expect.poll(() => this.ledger()).toEqual(numbers);
  }

  state(name: string, machine = 'ServiceRequestWorkflow'): Locator {
    return this.page.getByRole('region', { name: machine, exact: true }).locator(`[data-state="${name}"]`);
  }

  async expectPath(machine: string, ...states: string[]): Promise<void> {
    await expect(this.page.getByRole('list', { name: `States that ${machine} has passed` }).locator('li')).toHaveText(
      states,
    );
  }
}

interface Fixtures {
  /** Opens a window as a person; it must neither complain in the console nor leave the bank's origin. */
  open: (person: string, options?: BrowserContextOptions & { bank?: Bank; mayComplain?: RegExp }) => Promise<Window>;
}

export const test = base.extend<Fixtures, { bank: Bank }>({
  bank: [
    async ({}, use) => {
      const bank = await Bank.open();
      await use(bank);
      await bank.close();
    },
    { scope: 'worker', timeout: HANGS_MS },
  ],
  open: async ({ browser, bank: usual }, use) => {
    const complaints: string[] = [];
    const opened: Awaited<ReturnType<Browser['newContext']>>[] = [];
    await use(async (person, { bank = usual, mayComplain, ...options } = {}) => {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
      opened.push(context);
      const page = await context.newPage();
      page.on('request', (request) => {
        if (new URL(request.url()).origin !== bank.address) complaints.push(`asked ${request.url()}`);
      });
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type()) && !mayComplain?.test(message.text())) {
          complaints.push(`${person}: ${message.text()} (${message.location().url})`);
        }
      });
      page.on('pageerror', (error) => complaints.push(`${person}: ${error.stack}`));
      await page.goto(`${bank.address}/#${person}`);
      await expect(page.locator('.people input:checked + span small')).toHaveText(/ h$/);
      return new Window(page);
    });
    for (const context of opened) await context.close();
    expect(complaints, 'what the pages complained of').toEqual([]);
  },
});

/** Nothing that axe finds; it must have found enough to look at. */
export async function expectAccessible(page: Page, passing = 20): Promise<void> {
  // what fades in has its colours at once, also what comes while axe looks
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await page.evaluate(axe.source);
  const { violations, passes } = await page.evaluate(() =>
    (window as unknown as { axe: typeof axe }).axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    }),
  );
  await page.emulateMedia({ reducedMotion: null });
  expect(passes.length).toBeGreaterThan(passing);
  expect(violations.map(({ id, nodes }) => ({ id, where: nodes.map((node) => node.html) }))).toEqual([]);
}

export { expect };
