import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Page } from '@playwright/test';
import { build } from 'esbuild';

import { expect, expectAccessible, test, type Bank } from './bank';

const FRONTEND = join(import.meta.dirname, '../..');
const PICTURES = join(FRONTEND, 'test-results/pictures');

// an app of each framework: the package as it was built, and nothing else; `me` and `request` are in the address
const SIGNED_IN = `
  import { Amplify } from 'aws-amplify';
  import { decodeJWT } from 'aws-amplify/auth';
  const asked = new URLSearchParams(location.search);
  const { people, region } = await (await fetch('/local/config')).json();
  const { token } = people.find(({ userId }) => userId === asked.get('me'));
  const GraphQL = { endpoint: new URL('/graphql', location.href).href, region, defaultAuthMode: 'userPool' };
  const getTokens = async () => ({ accessToken: decodeJWT(token) });
  Amplify.configure({ API: { GraphQL } }, { Auth: { tokenProvider: { getTokens } } });
  const told = (id) => history.replaceState(null, '', '?me=' + asked.get('me') + '&request=' + id);
  const inputs = {
    serviceId: 'gardening', providerId: 'ben',
    serviceName: () => 'Help in the garden', personName: (id) => id.toUpperCase(),
    requestId: asked.get('request') ?? undefined,
  };`;
const APPS = {
  react: `import { createElement, useState } from 'react';
  import { createRoot } from 'react-dom/client';
  import { ServiceRequest } from 'hourbank-frontend/react';
  ${SIGNED_IN}
  function App() {
    const [requestId, setRequestId] = useState(inputs.requestId);
    const onRequestId = (id) => (told(id), setRequestId(id));
    return createElement(ServiceRequest, { ...inputs, requestId, onRequestId });
  }
  createRoot(document.querySelector('main').appendChild(document.createElement('div'))).render(createElement(App));`,
  angular: `import '@angular/compiler';
  import { createComponent, provideZonelessChangeDetection } from '@angular/core';
  import { createApplication } from '@angular/platform-browser';
  import { ServiceRequestComponent } from 'hourbank-frontend/angular';
  ${SIGNED_IN}
  const { injector, attachView } = await createApplication({ providers: [provideZonelessChangeDetection()] }).then(
    (app) => ({ injector: app.injector, attachView: (view) => app.attachView(view) }));
  const hostElement = document.querySelector('main').appendChild(document.createElement('div'));
  const component = createComponent(ServiceRequestComponent, { environmentInjector: injector, hostElement });
  for (const [name, value] of Object.entries(inputs)) component.setInput(name, value);
  component.instance.requestId.subscribe(told);
  attachView(component.hostView);`,
};
const PAGE = `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width, initial-scale=1">
  <title>An app</title><style>:root { color-scheme: light dark }</style><link rel="stylesheet" href="app.css">
  <main><h1>An app</h1></main><script type="module" src="app.js"></script></html>`;

for (const [framework, app] of Object.entries(APPS)) {
  test(`the components of ${framework} in an app: asked, answered, confirmed, in any colours`, async ({ browser, bank }) => {
    const {
      outputFiles: [script],
    } = await build({
      stdin: { contents: app, resolveDir: FRONTEND },
      bundle: true,
      format: 'esm',
      write: false,
      define: { 'process.env.NODE_ENV': '"production"', ngDevMode: 'false' },
    });
    const open = (me: string, options: BrowserContextOptions & { request?: string } = {}) =>
      openApp(browser, bank, script!.text, me, options);

    const ana = await open('ana', { colorScheme: 'dark', viewport: { width: 320, height: 640 } });
    const hours = ana.getByRole('textbox', { name: 'Hours' });
    await hours.fill('1,000');
    await hours.press('Enter');
    await expect(ana.getByRole('alert')).toHaveText(/could mean 1000 or 1/);
    await expect(hours).toBeFocused();
    await expect(hours).toHaveAccessibleDescription(/could mean 1000 or 1/);
    await expectAccessible(ana, 10);
    await ana.screenshot({ path: join(PICTURES, `${framework}-dark-phone.png`) });
    await hours.fill('0,25');
    await hours.press('Enter');
    await expect(ana.getByRole('status')).toHaveText('Provider asked');
    expect(await ana.evaluate(() => document.documentElement.scrollWidth)).toBe(320);
    const request = new URL(ana.url()).searchParams.get('request')!;

    const ben = await open('ben', { forcedColors: 'active', request });
    await expect(ben.getByText('ANA')).toBeVisible();
    const signs = await ben.locator('.hourbank li').evaluateAll((all) => all.map((li) => getComputedStyle(li, '::before').content));
    expect(signs.map((sign) => sign.slice(1, 2))).toEqual(['✓', '✓', '●', '○', '○']);
    const widths = await ben.locator('.hourbank button').evaluateAll((all) => all.map((one) => getComputedStyle(one).borderTopWidth));
    expect(widths).toEqual(['3px', '1px', '1px']);
    await expectAccessible(ben, 10);
    await ben.screenshot({ path: join(PICTURES, `${framework}-forced-colours.png`) });
    await ben.getByRole('button', { name: 'Accept', exact: true }).click();
    await expect(ben.getByRole('status')).toHaveText('Service in progress');

    const confirming = await open('ana', { request });
    const main = confirming.getByRole('button', { name: 'Confirm that the service was received' });
    await expect(main).toBeVisible();
    await expectAccessible(confirming, 10);
    await confirming.screenshot({ path: join(PICTURES, `${framework}-light.png`) });
    await main.click();
    await expect(confirming.getByRole('status')).toHaveText('Service received, hours paid');
    await expectAccessible(confirming, 10);
    for (const page of [ana, ben, confirming]) await page.context().close();
  });
}

async function openApp(
  browser: Browser,
  bank: Bank,
  script: string,
  me: string,
  { request, ...options }: BrowserContextOptions & { request?: string },
): Promise<Page> {
  const page = await (await browser.newContext(options)).newPage();
  const files: Record<string, { contentType: string; body?: string; path?: string }> = {
    '/app/': { contentType: 'text/html', body: PAGE },
    '/app/app.js': { contentType: 'text/javascript', body: script },
    '/app/app.css': { contentType: 'text/css', path: join(FRONTEND, 'style/hourbank.css') },
  };
  await page.route('**/app/**', (route) => route.fulfill(files[new URL(route.request().url()).pathname]!));
  await page.goto(`${bank.address}/app/?me=${me}${request ? `&request=${request}` : ''}`);
  return page;
}
