import { Alert, Button, hubspot, LoadingSpinner, StatusTag } from '@hubspot/ui-extensions';
import { createRenderer } from '@hubspot/ui-extensions/testing';
import { describe, expect, it, vi } from 'vitest';
import { Settings } from '../src/app/settings/Settings';

function open(answer: () => Response, language = 'en') {
  const fetch = vi.spyOn(hubspot, 'fetch').mockImplementation(async () => answer());
  const renderer = createRenderer('settings');
  renderer.mocks.context.variables = { API_BASE: 'https://otp.example.com/' };
  renderer.mocks.context.user.language = language;
  renderer.render(<Settings />);
  return { renderer, fetch };
}

const json = (body: unknown, status = 200) => () => new Response(JSON.stringify(body), { status });
const settings = { sendsEmail: true, storesInProperty: true, propertyLabel: 'OTP code' };

describe('the settings screen', () => {
  it('shows a working connection and leads to the settings', async () => {
    const { renderer, fetch } = open(json({ ok: true, settings }));
    expect(renderer.find(LoadingSpinner).props.label).toBe('Asking OpsAgent');
    await renderer.waitFor(() => expect(renderer.find(StatusTag).text).toBe('Connected'));
    expect(renderer.find(Button).props.href).toEqual({ url: 'https://otp.example.com/settings/', external: true });
    expect(fetch.mock.calls[0]?.[0]).toBe('https://otp.example.com/hubspot/cards/settings');
  });

  it('says what to do when the portal is not connected', async () => {
    const { renderer } = open(json({ ok: false, error: { code: 'not_connected', message: '' } }));
    await renderer.waitFor(() => expect(renderer.find(Alert).props.title).toBe('OpsAgent is not connected'));
    expect(renderer.findAll(Button)).toHaveLength(1);
  });

  it.each([
    ['an error', json({ error: {} }, 503)],
    ['an error page', () => new Response('<h1>Bad gateway</h1>', { status: 502 })],
    ['an envelope', json({ status: 'error', category: 'BAD_GATEWAY', context: {} })],
    ['nothing', () => { throw new TypeError('network'); }],
  ])('survives %s, and can be asked again', async (_, answer) => {
    let isWell = false;
    const { renderer } = open(() => (isWell ? json({ ok: true, settings })() : answer()));
    await renderer.waitFor(() => expect(renderer.find(Alert).props.title).toBe('OpsAgent did not answer'));
    isWell = true;
    renderer.find(Button, { variant: 'secondary' }).trigger('onClick');
    await renderer.waitFor(() => expect(renderer.find(StatusTag).text).toBe('Connected'));
  });

  it.each([['de', 'Verbunden'], ['pt-br', 'Conectado'], ['ja', '接続済み'], ['xx', 'Connected']])('speaks %s', async (language, word) => {
    const { renderer } = open(json({ ok: true, settings }), language);
    await renderer.waitFor(() => expect(renderer.find(StatusTag).text).toBe(word));
  });
});
