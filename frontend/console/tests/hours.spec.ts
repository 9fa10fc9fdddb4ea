import { expect, test, type Window } from './bank';

const field = ({ page }: Window) => page.getByLabel('Hours', { exact: true });

// what Chromium makes of a field for numbers goes by its language
for (const locale of ['en-US', 'de-DE', 'fr-CH', 'ar-EG', 'hi-IN', 'ja-JP']) {
  test(`half an hour is half an hour, typed and pasted, in ${locale}`, async ({ open }) => {
    const ana = await open('ana', { locale, permissions: ['clipboard-read', 'clipboard-write'] });
    const { page } = ana;
    expect(await page.evaluate(() => navigator.language)).toBe(locale);
    await ana.unfold();
    await expect(field(ana)).toHaveAttribute('inputmode', 'decimal');

    for (const text of ['0,5', '0.5', '0,50 h', '\u0660\u066b\u0665', '\uff10\uff0e\uff15']) {
      await field(ana).press('Control+A');
      await page.keyboard.type(text);
      await expect(page.getByText(/^0\.5 h of your .* will be held/), `typed: ${text}`).toBeVisible();

      await field(ana).press('Control+A');
      await page.keyboard.press('Delete');
      await expect(page.getByText(/will be held/)).toHaveCount(0);
      await page.evaluate((copied) => navigator.clipboard.writeText(copied), ` ${text}\n`);
      await field(ana).press('Control+V');
      await expect(page.getByText(/^0\.5 h of your .* will be held/), `pasted: ${text}`).toBeVisible();
    }
  });
}

test('half an hour with a comma is asked for, and held', async ({ open }) => {
  const [ana, ben] = [await open('ana'), await open('ben')];
  const before = await ana.available();
  await ana.ask('Ben', 'A comma', '0,5');
  await ana.expectStatus('A comma', 'Ben is asked');
  await ana.expectAvailable(before - 0.5);

  const offer = ben.request('A comma').getByLabel('Or for other hours');
  await offer.pressSequentially('1,000');
  await ben.do('A comma', 'Counter-offer');
  await expect(ben.request('A comma').getByRole('alert')).toHaveText(/^"1,000" could mean 1000 or 1: /);
  await expect(offer).toBeFocused();
  await expect(offer).toHaveAttribute('aria-invalid', 'true');
  await expect(offer).toHaveAccessibleDescription(/^"1,000" could mean 1000 or 1: /);
  await offer.press('Control+A');
  await ben.page.keyboard.type('1,25');
  await expect(ben.request('A comma').getByRole('alert')).toHaveCount(0);
  await ben.do('A comma', 'Counter-offer');
  await expect(ana.request('A comma')).toContainText('Ben would do it for 1.25 h. You offered 0.5 h');
  await ana.do('A comma', 'Reject the offer');
  await ana.expectStatus('A comma', 'Declined');
  await ana.expectAvailable(before);
});

test('hours that could mean two things are not sent: the field says why', async ({ open }) => {
  const ana = await open('ana');
  const sent: string[] = [];
  ana.page.on('request', (request) => {
    if (request.postData()?.includes('createServiceRequest')) sent.push(request.postData()!);
  });
  await ana.unfold();
  for (const [text, words] of [
    ['1,000', /^"1,000" could mean 1000 or 1: /],
    ['05', /^"05" could mean 5 or 0\.5: /],
    ['1:30', /^"1:30" is not a number of hours: /],
    ['0,125', /^The hours must have at most 2 decimals\.$/],
  ] as const) {
    await field(ana).fill(text);
    await expect(field(ana)).toHaveAttribute('aria-invalid', 'false');
    await field(ana).press('Enter');
    await expect(ana.page.getByRole('alert')).toHaveText(words);
    await expect(field(ana)).toBeFocused();
    await expect(field(ana)).toHaveAttribute('aria-invalid', 'true');
    await expect(field(ana)).toHaveAccessibleDescription(new RegExp(words.source.replace('$', '')));
  }
  expect(sent).toEqual([]);
  await field(ana).fill('2');
  await expect(ana.page.getByRole('alert')).toHaveCount(0);
});
