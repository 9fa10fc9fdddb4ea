import { join } from 'node:path';
import type { Locator } from '@playwright/test';

import { expect, expectAccessible, test, Window } from './bank';

const PICTURES = join(import.meta.dirname, '../../test-results/pictures');

test('the picture for the README', async ({ open }) => {
  const [ana, ben] = [
    await open('ana'),
    await open('ben', { viewport: { width: 1280, height: 940 }, reducedMotion: 'reduce' }),
  ];
  const changes = await ben.changes();
  await ana.ask('Ben', 'Help in the garden', '2');
  await expect.poll(changes).toContain('▲ +2');
  await expect(ben.request('Help in the garden').getByRole('timer')).toBeVisible();
  await expect(ben.state('WaitForProviderResponse')).toHaveClass(/current/);
  await ben.page.screenshot({ path: join(PICTURES, 'console.png') });
  await ana.do('Help in the garden', 'Cancel');
  await ana.expectStatus('Help in the garden', 'Cancelled');
});

test('one window and one keyboard are enough for both workflows', async ({ open }) => {
  const ana = await open('ana');
  const { page } = ana;
  await page.getByRole('button', { name: 'Ask for a service' }).focus();
  await tabTo(ana, page.getByLabel('What for'));
  await page.keyboard.press('Control+A');
  await page.keyboard.type('By keyboard');
  await tabTo(ana, page.getByLabel('Hours', { exact: true }));
  await page.keyboard.press('Control+A');
  await page.keyboard.type('0.5');
  await page.keyboard.press('Enter');

  const request = ana.request('By keyboard');
  await tabTo(ana, request.getByRole('button', { name: 'Go on as Ben' }));
  await page.keyboard.press('Enter');
  await expect(page.getByRole('radio', { name: /Ben/ })).toBeFocused();
  await tabTo(ana, request.getByRole('button', { name: 'Accept' }));
  await page.keyboard.press('Enter');
  await expect(request.getByRole('heading')).toBeFocused();
  await tabTo(ana, request.getByRole('button', { name: 'Go on as Ana' }));
  await page.keyboard.press('Enter');
  await tabTo(ana, request.getByRole('button', { name: 'Confirm' }));
  await page.keyboard.press('Enter');
  await ana.expectStatus('By keyboard', 'Done and paid');
  await expect(request.getByRole('heading')).toBeFocused();

  // the arrow keys change the person, and the picture can be scrolled
  await page.getByRole('radio', { name: /Ana/ }).focus();
  await page.keyboard.press('ArrowRight');
  await expect(page).toHaveURL(/#ben\//);
  await tabTo(ana, page.getByRole('region', { name: 'Picture of ServiceRequestWorkflow' }));
});

/** Presses Tab until the focus is there, from wherever it is; each stop on the way shows that it has the focus. */
async function tabTo({ page }: Window, goal: Locator): Promise<void> {
  await expect(goal).toBeVisible();
  for (let presses = 0; presses < 40; presses++) {
    await page.keyboard.press('Tab');
    const stop = await page.evaluate(() => {
      const focused = document.activeElement!;
      // a person's radio button is invisible under its name, which has the ring
      const shows = (element: Element | null) => element && getComputedStyle(element).outlineStyle !== 'none';
      const hasRing = focused === document.body || shows(focused) || shows(focused.nextElementSibling);
      return hasRing ? '' : focused.outerHTML;
    });
    expect(stop, 'a stop without a focus ring').toBe('');
    if (await goal.evaluate((element) => element === document.activeElement)) return;
  }
  throw new Error(`Tab does not lead to ${goal}`);
}

for (const colorScheme of ['light', 'dark'] as const) {
  for (const [size, viewport] of Object.entries({
    wide: { width: 1280, height: 800 },
    narrow: { width: 360, height: 780 },
  })) {
    test(`accessible, ${colorScheme} and ${size}`, async ({ open }) => {
      const ana = await open('ana', { colorScheme, viewport });
      const ben = await open('ben', { colorScheme, viewport });
      await expectAccessible(ana.page);
      const service = `A lamp, ${colorScheme} and ${size}`;
      await ana.ask('Ben', service, '0.25');
      await expect(ben.request(service).getByRole('button', { name: 'Accept' })).toBeVisible();
      await expect(ben.state('WaitForProviderResponse')).toHaveClass(/current/);
      await expectAccessible(ben.page);
      await expectAccessible(ana.page);
      await picture(ben, `asked-${colorScheme}-${size}`);
      await ben.do(service, 'Decline');
      await ben.expectStatus(service, 'Declined');
      await expectAccessible(ben.page);
      // nothing but the pictures is wider than the window
      expect(await ben.page.evaluate(() => document.documentElement.scrollWidth)).toBe(viewport.width);
    });
  }
}

for (const [size, viewport] of Object.entries({
  phone: { width: 320, height: 640 },
  wide: { width: 1280, height: 800 },
})) {
  test(`many people and many hours fit, ${size}`, async ({ open }) => {
    const page = (await open('ana', { viewport })).page;
    const names = ['ana', 'ben', 'chloé', 'Dagmar-Friederike von Hohenfels', 'eve', 'fay', 'gus', 'hal', 'ida'];
    await page.route('**/local/config', async (route) => {
      const config = await (await route.fetch()).json();
      const [{ token }] = config.people;
      await route.fulfill({ json: { ...config, people: names.map((name) => ({ userId: name, name, token })) } });
    });
    await page.route('**/local/ledger', async (route) => {
      const ledger = await (await route.fetch()).json();
      const balances = names.map((userId) => ({ userId, availableBalance: '1000001.75' }));
      await route.fulfill({ json: { ...ledger, balances, held: '999999.75', total: '9999999.5' } });
    });
    await page.reload();
    await expect(page.getByRole('radio')).toHaveCount(9);
    await expect(page.locator('.accounts').getByRole('term')).toHaveCount(11);
    await expect(page.locator('.accounts').getByText('1000001.75').last()).toBeVisible();
    const sideways = await page.evaluate(() => ({
      page: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      // what stands out of its place, but for the picture, which scrolls by itself
      outside: [...document.querySelectorAll('main *, header *')]
        .filter((one) => !one.closest('.picture, .hidden, .log'))
        .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
        .map((one) => one.outerHTML.slice(0, 80)),
    }));
    expect(sideways).toEqual({ page: 0, outside: [] });
    // a number stands in one line
    const lines = await page.locator('.accounts dd').evaluateAll((all) =>
      all.map((one) => {
        const range = document.createRange();
        range.selectNodeContents(one.firstChild!);
        return range.getClientRects().length;
      }),
    );
    expect(new Set(lines)).toEqual(new Set([1]));
    await picture(new Window(page), `many-${size}`);
    await page.unrouteAll({ behavior: 'ignoreErrors' });
  });
}

test('in forced colours it shows who one is, what is chosen, and what goes on', async ({ open }) => {
  const [ana, ben] = [await open('ana', { forcedColors: 'active' }), await open('ben', { forcedColors: 'active' })];
  await ana.ask('Ben', 'A contrast', '0.5');
  await expect(ben.request('A contrast').getByRole('button', { name: 'Accept' })).toBeVisible();
  await expect(ben.state('WaitForProviderResponse')).toHaveClass(/current/);
  await picture(ben, 'forced-colours');
  const styleOf = (locator: Locator, property: string): Promise<string> =>
    locator.evaluate((one, name) => getComputedStyle(one).getPropertyValue(name), property);
  expect(await styleOf(ben.page.locator('.people input:checked + span'), 'outline-style')).toBe('solid');
  expect(await styleOf(ben.page.locator('.people input:not(:checked) + span').first(), 'outline-style')).toBe('none');
  expect(await styleOf(ben.page.locator('.request.shown'), 'border-left-width')).toBe('5px');
  // hours in the bar keep their colours: nothing else says whose they are
  const colours = await ben.page.locator('.bar > div').evaluateAll((all) => all.map((one) => getComputedStyle(one).background));
  expect(new Set(colours).size).toBe(colours.length);
  await ana.do('A contrast', 'Cancel');
  await ana.expectStatus('A contrast', 'Cancelled');
});

test('the address holds person and request, and Back goes back', async ({ open }) => {
  const ana = await open('ana');
  const { page } = ana;
  await ana.ask('Ben', 'A first', '0.25');
  await ana.ask('Ben', 'A second', '0.25');
  await expect(ana.request('A second')).toHaveClass(/shown/);
  await ana.request('A first').getByRole('button', { name: 'Show its workflow' }).click();
  await expect(ana.request('A first')).toHaveClass(/shown/);
  await ana.request('A first').getByRole('button', { name: 'Go on as Ben' }).click();
  await expect(page).toHaveURL(/#ben\/[0-9a-f-]{36}$/);

  await page.reload();
  await expect(page.getByRole('radio', { name: /Ben/ })).toBeChecked();
  await expect(ana.request('A first')).toHaveClass(/shown/);
  await page.goBack();
  await expect(page.getByRole('radio', { name: /Ana/ })).toBeChecked();
  await expect(ana.request('A first')).toHaveClass(/shown/);
  await page.goBack();
  await expect(ana.request('A second')).toHaveClass(/shown/);
  await page.goForward();
  await expect(ana.request('A first')).toHaveClass(/shown/);
  for (const service of ['A first', 'A second']) {
    await ana.do(service, 'Cancel');
    await ana.expectStatus(service, 'Cancelled');
  }
});

test('on a phone the picture comes into view, and says that it scrolls', async ({ open }) => {
  const [ana, wide] = [await open('ana', { viewport: { width: 360, height: 640 } }), await open('ana')];
  const hint = ({ page }: Window): Locator => page.getByText('scroll it sideways').first();
  await expect(hint(ana)).toBeVisible();
  await expect(wide.page.getByRole('region', { name: 'Picture of ServiceRequestWorkflow' })).toBeVisible();
  await expect(hint(wide)).toBeHidden();
  for (const service of ['A near one', 'A far one']) await ana.ask('Ben', service, '0.25');
  await ana.request('A near one').getByRole('button', { name: 'Show its workflow' }).click();
  await expect(ana.page.getByRole('heading', { name: 'The workflows of “A near one”' })).toBeInViewport();
  for (const service of ['A near one', 'A far one']) {
    await ana.do(service, 'Cancel');
    await ana.expectStatus(service, 'Cancelled');
  }
});

test('the clock is the server’s', async ({ open }) => {
  const ana = await open('ana');
  // a browser whose clock is a day ahead
  await ana.page.clock.install({ time: Date.now() + 24 * 3600 * 1000 });
  await ana.page.reload();
  await ana.ask('Ben', 'A clock', '0.25');
  await expect(ana.request('A clock').getByRole('timer')).toHaveText(/^1\d:\d\d left$/);
  await ana.do('A clock', 'Cancel');
  await ana.expectStatus('A clock', 'Cancelled');
});

test('a run that was started anew is said, until somebody has seen it', async ({ open }) => {
  const ana = await open('ana');
  const { page } = ana;
  const said = page.getByText('HourBank was started anew.');
  await expect(said).toBeHidden();
  // a kept run has its name again: nothing is said of it
  await page.reload();
  await ana.expectAvailable(await ana.available());
  await expect(said).toBeHidden();
  await page.route('**/local/config', async (route) => {
    const config = await (await route.fetch()).json();
    await route.fulfill({ json: { ...config, run: 'another' } });
  });
  await expect(page.getByRole('alert').filter({ has: said })).toContainText('make up ARGS=--keep');
  await expectAccessible(page);
  await page.reload();
  await expect(said).toBeVisible();
  await page.getByRole('button', { name: 'Go on', exact: true }).click();
  await expect(said).toBeHidden();
  await page.reload();
  await ana.expectAvailable(await ana.available());
  await expect(said).toBeHidden();
  await page.unrouteAll({ behavior: 'ignoreErrors' });
});

test('to cancel is no main button', async ({ open }) => {
  const [ana, ben] = [await open('ana'), await open('ben')];
  await ana.ask('Ben', 'A button', '0.25');
  const background = (window: Window, name: string): Promise<string> =>
    window
      .request('A button')
      .getByRole('button', { name, exact: true })
      .evaluate((one) => getComputedStyle(one).backgroundColor);
  await expect(ben.request('A button').getByRole('button', { name: 'Accept' })).toBeVisible();
  const main = await background(ben, 'Accept');
  expect(await background(ben, 'Decline')).not.toBe(main);
  expect(await background(ana, 'Cancel')).not.toBe(main);
  await ana.do('A button', 'Cancel');
  await ana.expectStatus('A button', 'Cancelled');
});

test('a request that has ended can be looked at again', async ({ open }) => {
  const [ana, ben] = [await open('ana'), await open('ben')];
  for (const service of ['The first', 'The second']) {
    await ana.ask('Ben', service, '0.5');
    await ben.do(service, 'Decline');
    await ana.expectStatus(service, 'Declined');
  }
  await expect(ana.page.getByRole('heading', { name: 'The workflows of “The second”' })).toBeVisible();
  await expect(ana.request('The first')).toBeHidden();
  await ana.page.getByText('Earlier requests').click();
  await ana.do('The first', 'Show its workflow');
  await expect(ana.page.getByRole('heading', { name: 'The workflows of “The first”' })).toBeVisible();
  await expect(ana.request('The first').getByRole('heading')).toBeFocused();
});

test('an execution that failed is shown where it failed', async ({ open }) => {
  const ana = await open('ana');
  // the emulator has no failures to offer: this is what the server would say of one
  await ana.page.route('**/local/requests/*', async (route) => {
    const path = ['ValidateRequest', 'RefundAfterFailure', 'RequestFailed'];
    const failed = { machine: 'ServiceRequestWorkflow', status: 'FAILED', path, error: 'RequestFailed' };
    await route.fulfill({ json: { executions: [{ ...failed, current: null, deadline: null }] } });
  });
  await ana.ask('Ben', 'A failure', '0.5');
  await expect(ana.state('RequestFailed')).toHaveClass(/failed/);
  await expect(ana.state('RefundAfterFailure')).toHaveClass(/taken/);
  await expect(ana.state('RefundAfterFailure')).not.toHaveClass(/failed/);
  await expect(ana.page.getByText('Failed: RequestFailed')).toBeVisible();
  await ana.do('A failure', 'Cancel');
  await ana.expectStatus('A failure', 'Cancelled');
});

test('news are told to screen readers', async ({ open }) => {
  const [ana, ben] = [await open('ana'), await open('ben')];
  const live = ben.page.locator('[aria-live=polite]');
  await expect(live).toBeEmpty();
  await ana.ask('Ben', 'A song', '0.5');
  await expect(live).toContainText('A song: You are asked. Ana asks you, and 0.5 h of Ana’s are held.');
  await ana.do('A song', 'Cancel');
  await expect(live).toContainText('A song: Cancelled. Ana cancelled. 0.5 h went back to Ana.');
});

test('nothing moves for those who want no motion', async ({ open }) => {
  const ana = await open('ana', { reducedMotion: 'reduce' });
  await ana.ask('Ben', 'A rest', '0.5');
  await expect(ana.state('WaitForProviderResponse')).toHaveClass(/current/);
  expect(await ana.page.evaluate(() => document.getAnimations().length)).toBe(0);
  await ana.do('A rest', 'Cancel');
  await ana.expectStatus('A rest', 'Cancelled');
});

async function picture({ page }: Window, name: string): Promise<void> {
  await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
}
