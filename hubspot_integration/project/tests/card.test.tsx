import {
  Accordion,
  Alert,
  Button,
  DescriptionListItem,
  Form,
  Heading,
  Input,
  LoadingButton,
  LoadingSpinner,
  StatusTag,
  Text,
  TextArea,
} from '@hubspot/ui-extensions';
import { createRenderer } from '@hubspot/ui-extensions/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { useState } from 'react';
import { Card } from '../src/app/cards/Card';
import { LANGUAGES } from '../src/app/cards/languages';
import type { Language } from '../src/app/cards/languages';
import { Backend, CODE, LOST, RECIPIENT } from './backend';

const START = new Date('2026-11-23T12:00:00Z');
const wrongCode = { result: 'invalid', reason: 'wrong_code', attemptsRemaining: 4 };

let backend: Backend;

beforeEach(() => {
  vi.useFakeTimers({ now: START });
  vi.spyOn(console, 'log');
  vi.spyOn(console, 'error');
  vi.spyOn(console, 'warn');
  backend = new Backend();
});

afterEach(() => {
  for (const method of ['log', 'error', 'warn'] as const) {
    expect(console[method]).not.toHaveBeenCalled();
  }
  vi.useRealTimers();
});

function open(context: { language?: string; locale?: string; variables?: Record<string, string> } = {}) {
  const renderer = createRenderer('crm.record.sidebar');
  renderer.mocks.context.variables = context.variables ?? { API_BASE: 'https://otp.example.com' };
  renderer.mocks.context.crm.objectId = 904;
  renderer.mocks.context.user.language = context.language ?? 'en';
  renderer.mocks.context.user.locale = context.locale ?? '';
  renderer.render(<Card />);
  const buttons = () => [...renderer.findAll(Button), ...renderer.findAll(LoadingButton)];
  const button = (label: string) => {
    const found = buttons().find((one) => one.text?.startsWith(label));
    if (!found) {
      throw new Error(`There is no button ${label}, only ${buttons().map((one) => one.text).join(', ')}.`);
    }
    return found;
  };
  return {
    renderer,
    settle: () => pass(0),
    has: (label: string) => buttons().some((one) => one.text?.startsWith(label)),
    button,
    click: async (label: string) => {
      expect(button(label).props.disabled ?? false, `${label} is disabled`).toBe(false);
      button(label).trigger('onClick');
      await pass(0);
    },
    primaries: () => buttons().filter((one) => one.props.variant === 'primary').map((one) => one.text),
    alerts: () => renderer.findAll(Alert).map((one) => one.props.title),
    said: () => renderer.findAll(Alert).map((one) => one.text).concat(renderer.findAll(Text).map((one) => one.text)).join(' | '),
    code: () => renderer.maybeFind(Heading)?.text ?? null,
    item: (label: string) => {
      const found = renderer.find(DescriptionListItem, { label });
      return [...found.findAll(Text), ...found.findAll(StatusTag)].map((one) => one.text).join(' ');
    },
    tags: () => renderer.findAll(StatusTag).map((one) => one.text),
    type: async (code: string) => {
      renderer.find(Input, { name: 'code' }).trigger('onInput', code as never);
      await pass(0);
    },
    submit: async (index = 0) => {
      renderer.findAll(Form)[index]?.trigger('onSubmit');
      await pass(0);
    },
  };
}

async function pass(milliseconds: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(milliseconds);
}

async function opened(context: Parameters<typeof open>[0] = {}) {
  const card = open(context);
  await card.settle();
  return card;
}

describe('on opening', () => {
  it('says that it is looking', async () => {
    backend.hold();
    const card = await opened();
    expect(card.renderer.find(LoadingSpinner).props.label).toBe('Looking for an active code');
    expect(card.primaries()).toEqual([]);
    backend.release();
    await card.settle();
    expect(card.renderer.maybeFind(LoadingSpinner)).toBeNull();
  });

  it('asks about the contact on the page', async () => {
    await opened();
    expect(backend.calls).toEqual([{ method: 'GET', path: 'otp', body: {} }]);
  });

  it('offers to generate where there is no code, and says what that will do', async () => {
    const card = await opened();
    expect(card.primaries()).toEqual(['Generate OTP']);
    expect(card.said()).toContain('This contact has no active code.');
    expect(card.said()).toContain('accepted for 10 minutes. It is emailed to the contact. It is stored in “OTP code”.');
  });

  it('shows an active code at once, and offers no other', async () => {
    backend.issue();
    const card = await opened();
    expect(card.alerts()).toEqual(['Active OTP']);
    expect(card.code()).toBe('482 951');
    expect(card.has('Generate OTP')).toBe(false);
    expect(card.item('Recipient')).toBe(RECIPIENT);
    expect(card.item('Stored in')).toBe('OTP code Stored');
    expect(card.item('Email')).toBe('Sent');
    expect(card.item('Reference')).toMatch(/^01a208b5-/);
    expect(card.item('Valid for')).toBe('10:00');
    expect(card.item('Expires At')).toMatch(/12:10\sPM/);
    expect(card.said()).toContain('Emailed to ada@example.com. Stored in “OTP code”.');
    expect(card.primaries()).toEqual(['Verify']);
  });

  it('says in its first line that it checks codes too', async () => {
    expect((await opened()).said()).toContain('check here what the customer reads out');
  });

  it('knows that an address is missing before anybody presses Generate', async () => {
    backend.missingAddress = true;
    const card = await opened();
    expect(card.alerts()).toEqual(['No email address']);
    expect(card.button('Generate OTP').props.disabled).toBe(true);
  });

  it('folds what is rarely read', async () => {
    backend.issue();
    const card = await opened();
    expect(card.renderer.find(Accordion, { title: 'Details' }).findAll(DescriptionListItem).map((one) => one.props.label)).toEqual([
      'Expires At',
      'Reference',
    ]);
  });

  it('shows the badge of an earlier verification with its time', async () => {
    backend.lastVerification = { reason: 'verified', attemptsRemaining: 0, at: '2026-11-23T11:42:00Z' };
    const card = await opened();
    expect(card.tags()[0]).toMatch(/^Verified 11:42\sAM$/);
    expect(card.primaries()).toEqual(['Generate OTP']);
  });

  it('shows the date of a verification long ago', async () => {
    backend.lastVerification = { reason: 'verified', attemptsRemaining: 0, at: '2026-11-02T11:42:00Z' };
    const card = await opened();
    expect(card.tags()[0]).toContain('Nov 2, 2026');
  });

  it.each([
    { reason: 'locked', attemptsRemaining: 0 },
    { reason: 'wrong_code', attemptsRemaining: 0 },
  ])('says that the code is locked after $reason', async (last) => {
    backend.lastVerification = { ...last, at: START.toISOString() };
    const card = await opened();
    expect(card.alerts()).toEqual(['The code is locked']);
    expect(card.primaries()).toEqual(['Generate OTP']);
  });

  it('shows mail and storage that are switched off', async () => {
    backend.settings = { ...backend.settings, sendsEmail: false, storesInProperty: false };
    backend.issue({ emailStatus: 'off', propertyStatus: 'off' });
    const card = await opened();
    expect(card.item('Email')).toBe('Off');
    expect(card.item('Stored in')).toBe('Off');
    expect(card.has('Resend Code')).toBe(false);
  });

  it.each([undefined, ''])('says that it is not set up without an address (%s)', async (base) => {
    const card = await opened({ variables: base === undefined ? {} : { API_BASE: base } });
    expect(card.alerts()).toEqual(['The card is not set up']);
    expect(backend.calls).toEqual([]);
  });
});

describe('when it cannot be loaded', () => {
  it('leads an agent of a portal that is not connected to the settings', async () => {
    backend.refuse('otp', 'not_connected');
    const card = await opened();
    expect(card.alerts()).toEqual(['OpsAgent is not connected']);
    expect(card.button('Open the OpsAgent settings').props.href).toEqual({
      url: 'https://otp.example.com/settings/',
      external: true,
    });
    expect(card.primaries()).toEqual(['Try again']);
  });

  it.each([...LOST, 'unauthorized' as const])('survives “%s” with a sentence and a next step', async (failure) => {
    backend.plan('otp', failure);
    const card = await opened();
    expect(card.alerts()).toHaveLength(1);
    expect(card.primaries()).toEqual(['Try again']);
    await card.click('Try again');
    expect(card.primaries()).toEqual(['Generate OTP']);
    expect(card.alerts()).toEqual([]);
  });

  it('shows the server’s own sentence for a failure that it does not know', async () => {
    backend.refuse('otp', 'brand_new');
    const card = await opened();
    expect(card.said()).toContain('Something is the matter. Do this.');
  });
});

describe('generating', () => {
  it('shows the new code', async () => {
    const card = await opened();
    await card.click('Generate OTP');
    expect(card.alerts()).toEqual(['Code generated']);
    expect(card.code()).toBe('482 951');
    expect(backend.to('otp/generate')[0]?.body).toEqual({ contactId: 904, idempotencyKey: expect.any(String) });
    expect(String(backend.keys('otp/generate')[0])).toMatch(/^[A-Za-z0-9_-]{8,100}$/);
  });

  it('does it once for two clicks', async () => {
    const card = await opened();
    backend.hold();
    const button = card.button('Generate OTP');
    button.trigger('onClick');
    button.trigger('onClick');
    await card.settle();
    expect(card.button('Generate OTP').props.disabled).toBe(true);
    backend.release();
    await card.settle();
    expect(backend.to('otp/generate')).toHaveLength(1);
  });

  it.each(LOST)('keeps the key when nobody knows what became of it (“%s”)', async (failure) => {
    backend.plan('otp/generate', failure);
    const card = await opened();
    await card.click('Generate OTP');
    expect(card.alerts()).toHaveLength(1);
    expect(card.primaries()).toEqual(['Generate OTP']);
    await card.click('Generate OTP');
    expect(card.code()).toBe('482 951');
    const [first, second] = backend.keys('otp/generate');
    expect(second).toBe(first);
  });

  it('notices that it was done although the answer was lost', async () => {
    backend.plan('otp/generate', 'throws');
    const card = await opened();
    backend.issue();
    await card.click('Generate OTP');
    expect(card.alerts()).toEqual(['Code generated']);
  });

  it('takes a new key for a new intention', async () => {
    const card = await opened();
    await card.click('Generate OTP');
    await pass(601_000);
    await card.click('Generate OTP');
    const [first, second] = backend.keys('otp/generate');
    expect(second).not.toBe(first);
  });

  it('shows a colleague’s code when it comes too late', async () => {
    backend.refuse('otp/generate', 'rate_limited', { retryAfterSeconds: 25 });
    const card = await opened();
    backend.issue();
    await card.click('Generate OTP');
    expect(card.code()).toBe('482 951');
    expect(card.alerts()).toEqual(['Please wait']);
  });

  it('counts the seconds of a limit down and then lets go', async () => {
    backend.refuse('otp/generate', 'rate_limited', { retryAfterSeconds: 25 });
    const card = await opened();
    await card.click('Generate OTP');
    expect(card.said()).toContain('Try again in 25 seconds.');
    expect(card.button('Generate OTP').text).toBe('Generate OTP (0:25)');
    expect(card.button('Generate OTP').props.disabled).toBe(true);
    await pass(10_000);
    expect(card.said()).toContain('Try again in 15 seconds.');
    await pass(16_000);
    expect(card.said()).not.toContain('Try again');
    expect(card.button('Generate OTP').props.disabled).toBe(false);
  });

  it.each(['missing_email', 'not_found', 'hubspot_unavailable', 'invalid_input', 'internal', 'email_off'])(
    'says what to do about %s',
    async (code) => {
      backend.refuse('otp/generate', code);
      const card = await opened();
      await card.click('Generate OTP');
      expect(card.alerts()).toHaveLength(1);
      expect(card.said()).not.toContain('Something is the matter');
      expect(card.primaries()).toEqual(['Generate OTP']);
    },
  );

  it('goes to “not connected” when the connection has ended meanwhile', async () => {
    backend.refuse('otp/generate', 'not_connected');
    const card = await opened();
    await card.click('Generate OTP');
    expect(card.has('Open the OpsAgent settings')).toBe(true);
  });
});

describe('what becomes of a code', () => {
  it('follows mail and property until they settle, and then leaves the server in peace', async () => {
    const card = await opened();
    await card.click('Generate OTP');
    expect(card.item('Email')).toBe('Sending');
    expect(card.item('Stored in')).toBe('OTP code Storing');
    backend.active = { ...backend.active, propertyStatus: 'written' };
    await pass(2_000);
    expect(card.item('Stored in')).toBe('OTP code Stored');
    backend.active = { ...backend.active, emailStatus: 'sent' };
    await pass(5_000);
    expect(card.item('Email')).toBe('Sent');
    expect(card.alerts()).toEqual(['Code generated']);
    expect(card.said()).toContain('Emailed to');
    const asked = backend.calls.length;
    await pass(300_000);
    expect(backend.calls).toHaveLength(asked);
  });

  it('asks ever more rarely, and gives up in the end', async () => {
    backend.issue({ emailStatus: 'pending' }, 3600);
    await opened();
    await pass(10_000);
    const early = backend.calls.length;
    await pass(600_000);
    expect(early).toBeLessThan(8);
    expect(backend.calls.length).toBeLessThan(25);
  });

  it('survives a look that fails', async () => {
    backend.issue({ emailStatus: 'pending' });
    const card = await opened();
    backend.plan('otp', 'throws', 2);
    await pass(6_000);
    backend.active = { ...backend.active, emailStatus: 'sent' };
    await pass(10_000);
    expect(card.item('Email')).toBe('Sent');
    expect(card.alerts()).toEqual(['Active OTP']);
  });

  it('stops looking when it is taken off the page', async () => {
    backend.issue({ emailStatus: 'pending' });
    const renderer = createRenderer('crm.record.sidebar');
    renderer.mocks.context.variables = { API_BASE: 'https://otp.example.com' };
    let takeAway = () => {};
    const Page = () => {
      const [isOpen, setIsOpen] = useState(true);
      takeAway = () => setIsOpen(false);
      return isOpen ? <Card /> : <Text>Gone</Text>;
    };
    renderer.render(<Page />);
    await pass(2_000);
    takeAway();
    await pass(100);
    const asked = backend.calls.length;
    expect(asked).toBeGreaterThan(1);
    await pass(60_000);
    expect(backend.calls).toHaveLength(asked);
  });

  it.each([
    ['emailStatus', 'bounced', 'Correct the contact’s address'],
    ['emailStatus', 'failed', 'could not be sent'],
    ['propertyStatus', 'failed', 'could not be stored'],
  ])('says what to do when %s is %s', async (field, status, sentence) => {
    backend.issue({ [field]: status });
    const card = await opened();
    expect(card.alerts()).toEqual(['Active OTP: only partly delivered']);
    expect(card.said()).toContain(sentence);
    expect(card.renderer.find(Alert).props.variant).toBe('warning');
  });

  it('has no good news about a code that reached nobody', async () => {
    const card = await opened();
    await card.click('Generate OTP');
    backend.active = { ...backend.active, emailStatus: 'failed', propertyStatus: 'failed' };
    await pass(2_000);
    expect(card.alerts()).toEqual(['Code generated: not delivered']);
    expect(card.renderer.find(Alert).props.variant).toBe('danger');
  });

  it('says that no delivery is switched on', async () => {
    backend.settings = { ...backend.settings, sendsEmail: false, storesInProperty: false };
    backend.issue({ emailStatus: 'off', propertyStatus: 'off' });
    const card = await opened();
    expect(card.alerts()).toEqual(['Active OTP: no delivery is on']);
    expect(card.said()).toContain('sent to nobody');
  });

  it('counts down, and says when the code has expired', async () => {
    backend.issue({}, 65);
    const card = await opened();
    expect(card.item('Valid for')).toBe('1:05');
    await pass(6_000);
    expect(card.item('Valid for')).toBe('0:59');
    await pass(60_000);
    expect(card.code()).toBeNull();
    expect(card.alerts()).toEqual(['The code has expired']);
    expect(card.primaries()).toEqual(['Generate OTP']);
  });

  it('counts by the server’s clock, not by the agent’s', async () => {
    backend.plan('otp', backend.issue({}, 600).overview({ settings: { ...backend.settings, serverTime: START.toISOString() } }));
    vi.setSystemTime(new Date(START.getTime() + 3_600_000));
    const card = await opened();
    expect(card.item('Valid for')).toBe('10:00');
  });
});

describe('copying', () => {
  it('copies the plain code inside the click', async () => {
    backend.issue();
    const card = await opened();
    const { copyTextToClipboard, addAlert } = card.renderer.mocks.actions;
    copyTextToClipboard.willCall(async () => undefined);
    card.button('Copy code').trigger('onClick');
    expect(copyTextToClipboard.calls).toEqual([[CODE]]);
    await card.settle();
    expect(addAlert.calls).toEqual([[{ type: 'success', message: 'The code is copied.' }]]);
  });

  it('says so when the browser does not allow it', async () => {
    backend.issue();
    const card = await opened();
    card.renderer.mocks.actions.copyTextToClipboard.willCall(async () => Promise.reject(new Error('denied')));
    await card.click('Copy code');
    expect(card.renderer.mocks.actions.addAlert.calls[0]?.[0].type).toBe('danger');
  });

  it('writes times as the agent does', async () => {
    backend.issue();
    const card = await opened({ locale: 'en-gb' });
    expect(card.item('Expires At')).toBe('12:10');
  });

  it('groups codes for the eye', async () => {
    backend.issue({ code: '12345678' });
    expect((await opened()).code()).toBe('1234 5678');
    backend.issue({ code: 'JKRF' });
    expect((await opened()).code()).toBe('JKRF');
  });
});

describe('resending', () => {
  it('asks first, showing the recipient', async () => {
    backend.issue();
    const card = await opened();
    await card.click('Resend Code');
    expect(card.said()).toContain(`emailed to ${RECIPIENT}. The current code stops working.`);
    expect(card.primaries()).toEqual(['Confirm & Resend']);
    expect(backend.to('otp/resend')).toEqual([]);
    await card.click('Cancel');
    expect(card.primaries()).toEqual(['Verify']);
  });

  it('says that the current code stays valid where the portal keeps both', async () => {
    backend.settings = { ...backend.settings, newCodeEndsOlder: false };
    backend.issue();
    const card = await opened();
    await card.click('Resend Code');
    expect(card.said()).toContain('The current code keeps working until it expires.');
  });

  it('shows the cooldown before anybody presses it', async () => {
    backend.issue({ resendAt: new Date(Date.now() + 30_000).toISOString() });
    const card = await opened();
    expect(card.button('Resend Code').text).toBe('Resend Code (0:30)');
    expect(card.button('Resend Code').props.disabled).toBe(true);
    await pass(31_000);
    expect(card.button('Resend Code').props.disabled).toBe(false);
  });

  it('issues and mails a new code once confirmed', async () => {
    backend.issue();
    const card = await opened();
    await card.click('Resend Code');
    await card.click('Confirm & Resend');
    expect(card.alerts()).toEqual(['New code generated']);
    expect(card.item('Reference')).toMatch(/2$/);
    expect(card.has('Confirm & Resend')).toBe(false);
  });

  it.each(LOST)('keeps the question open and the key after “%s”', async (failure) => {
    backend.issue().plan('otp/resend', failure);
    const card = await opened();
    await card.click('Resend Code');
    await card.click('Confirm & Resend');
    expect(card.primaries()).toEqual(['Confirm & Resend']);
    await card.click('Confirm & Resend');
    const [first, second] = backend.keys('otp/resend');
    expect(second).toBe(first);
    expect(card.alerts()).toEqual(['New code generated']);
  });

  it('waits out the cooldown', async () => {
    backend.issue().refuse('otp/resend', 'rate_limited', { retryAfterSeconds: 12 });
    const card = await opened();
    await card.click('Resend Code');
    await card.click('Confirm & Resend');
    expect(card.button('Confirm & Resend').text).toBe('Confirm & Resend (0:12)');
    await pass(13_000);
    expect(card.button('Confirm & Resend').props.disabled).toBe(false);
  });
});

describe('verifying', () => {
  const answer = (more: Record<string, unknown>, active = backend.active) => backend.overview({ active, ...more });

  it('makes Verify the primary button once a code is out', async () => {
    backend.issue();
    const card = await opened();
    await card.type('482951');
    expect(card.primaries()).toEqual(['Verify']);
  });

  it('shows success with its time, and the way to a new code', async () => {
    backend.issue();
    const card = await opened();
    const last = { reason: 'verified', attemptsRemaining: 0, at: START.toISOString() };
    backend.plan('otp/verify', answer({ result: 'valid', reason: 'verified', attemptsRemaining: 0, lastVerification: last }, null));
    await card.type(' 482951 ');
    await card.submit();
    expect(backend.to('otp/verify')[0]?.body).toEqual({ contactId: 904, idempotencyKey: expect.any(String), code: '482951' });
    expect(card.alerts()[0]).toMatch(/^Verified 12:00\sPM$/);
    expect(card.code()).toBeNull();
    expect(card.primaries()).toEqual(['Generate OTP']);
  });

  it('shows the attempts left, and takes a new key for the next try', async () => {
    backend.issue();
    const card = await opened();
    backend.issue({ attemptsRemaining: 4 });
    backend.plan('otp/verify', answer(wrongCode), 2);
    await card.type('111111');
    await card.submit();
    expect(card.alerts()).toEqual(['Wrong code']);
    expect(card.said()).toContain('4 attempts left.');
    await card.type('111111');
    await card.submit();
    const [first, second] = backend.keys('otp/verify');
    expect(second).not.toBe(first);
  });

  it('says that the fifth wrong code has locked it', async () => {
    backend.issue({ attemptsRemaining: 1 });
    const card = await opened();
    expect(card.said()).toContain('1 attempt left');
    backend.plan('otp/verify', answer({ ...wrongCode, attemptsRemaining: 0 }, null));
    await card.type('111111');
    await card.submit();
    expect(card.alerts()).toEqual(['The code is locked']);
    expect(card.primaries()).toEqual(['Generate OTP']);
  });

  it.each([
    ['malformed', 'This cannot be a code'],
    ['expired', 'This code has expired'],
    ['superseded', 'This is an older code'],
    ['already_used', 'This code was used already'],
    ['not_found', 'There is no code to check'],
    ['locked', 'The code is locked'],
  ])('says what %s means', async (reason, title) => {
    backend.issue();
    const card = await opened();
    backend.plan('otp/verify', answer({ result: 'invalid', reason, attemptsRemaining: 5 }));
    await card.type('999999');
    await card.submit();
    expect(card.alerts()).toEqual([title]);
  });

  it('says until when the contact is locked, and waits with everything', async () => {
    backend.issue().refuse('otp/verify', 'rate_limited', { retryAfterSeconds: 900 });
    const card = await opened();
    await card.type('111111');
    backend.lockedUntil = new Date(Date.now() + 900_000).toISOString();
    await card.submit();
    expect(card.alerts()).toEqual([expect.stringMatching(/^Locked until 12:15\sPM$/)]);
    expect(card.said()).toContain('After 10 wrong codes');
    expect(card.button('Verify').text).toBe('Verify (15:00)');
    expect(card.button('Verify').props.disabled).toBe(true);
    expect(card.button('Resend Code').props.disabled).toBe(true);
    await card.submit();
    expect(backend.to('otp/verify')).toHaveLength(1);
    await pass(901_000);
    expect(card.alerts()).toEqual(['The code has expired']);
    expect(card.button('Generate OTP').props.disabled).toBe(false);
  });

  it('generates nothing while the contact is locked', async () => {
    backend.lockedUntil = new Date(Date.now() + 900_000).toISOString();
    const card = await opened();
    expect(card.alerts()).toEqual([expect.stringMatching(/^Locked until/)]);
    expect(card.button('Generate OTP').text).toBe('Generate OTP (15:00)');
    expect(card.button('Generate OTP').props.disabled).toBe(true);
  });

  it('sends nothing when nothing is typed', async () => {
    backend.issue();
    const card = await opened();
    await card.type('  ');
    await card.submit();
    expect(backend.to('otp/verify')).toEqual([]);
  });

  it.each(LOST)('keeps what was typed and the key after “%s”', async (failure) => {
    backend.issue();
    const card = await opened();
    backend.plan('otp/verify', failure);
    await card.type('111111');
    await card.submit();
    expect(card.renderer.find(Input, { name: 'code' }).props.value).toBe('111111');
    expect(card.alerts()[0]).toMatch(/OpsAgent|requests/);
    backend.plan('otp/verify', answer(wrongCode));
    await card.submit();
    const [first, second] = backend.keys('otp/verify');
    expect(second).toBe(first);
  });

  it('takes another key for another code', async () => {
    backend.issue();
    const card = await opened();
    backend.plan('otp/verify', 'throws', 2);
    await card.type('111111');
    await card.submit();
    await card.type('222222');
    await card.submit();
    const [first, second] = backend.keys('otp/verify');
    expect(second).not.toBe(first);
  });
});

describe('a code that agents do not see', () => {
  it('is shown for a reason', async () => {
    backend.settings = { ...backend.settings, codeVisibility: 'reveal' };
    backend.issue({ code: null });
    const card = await opened();
    expect(card.code()).toBeNull();
    expect(card.primaries()).toEqual(['Verify']);
    await card.click('Reveal code');
    expect(card.primaries()).toEqual(['Reveal code']);
    await card.submit();
    expect(card.renderer.find(TextArea).props.validationMessage).toBe('Say why you need to see the code.');
    card.renderer.find(TextArea).trigger('onInput', 'The mail has not come' as never);
    await card.settle();
    await card.submit();
    expect(backend.to('otp/reveal')[0]?.body.reason).toBe('The mail has not come');
    expect(card.code()).toBe('482 951');
    expect(card.primaries()).toEqual(['Verify']);
  });

  it.each(LOST)('keeps the reason after “%s”', async (failure) => {
    backend.settings = { ...backend.settings, codeVisibility: 'reveal' };
    backend.issue({ code: null }).plan('otp/reveal', failure);
    const card = await opened();
    await card.click('Reveal code');
    card.renderer.find(TextArea).trigger('onInput', 'The mail has not come' as never);
    await card.settle();
    await card.submit();
    expect(card.alerts()).toHaveLength(1);
    await card.submit();
    const [first, second] = backend.keys('otp/reveal');
    expect(second).toBe(first);
    expect(card.code()).toBe('482 951');
  });

  it('can be left alone again', async () => {
    backend.settings = { ...backend.settings, codeVisibility: 'reveal' };
    backend.issue({ code: null });
    const card = await opened();
    await card.click('Reveal code');
    await card.click('Cancel');
    expect(card.primaries()).toEqual(['Verify']);
  });

  it('is never shown where the portal says so', async () => {
    backend.settings = { ...backend.settings, codeVisibility: 'never' };
    const card = await opened();
    await card.click('Generate OTP');
    expect(card.code()).toBeNull();
    expect(card.has('Reveal code')).toBe(false);
    expect(card.said()).toContain('does not show codes to agents');
    expect(card.primaries()).toEqual(['Verify']);
  });
});

describe('languages', () => {
  it.each([
    ['de', 'OTP erzeugen'],
    ['fr', 'Générer un OTP'],
    ['es-mx', 'Generar OTP'],
    ['pt-br', 'Gerar OTP'],
    ['pt', 'Gerar OTP'],
    ['nl', 'OTP genereren'],
    ['ja', 'OTPを生成'],
    ['en-gb', 'Generate OTP'],
    ['xx', 'Generate OTP'],
  ])('speaks %s', async (language, generate) => {
    const card = await opened({ language });
    expect(card.primaries()).toEqual([generate]);
  });

  it.each(Object.keys(LANGUAGES) as Language[])('leaves nothing out in %s', (language) => {
    expect(keysOf(LANGUAGES[language])).toEqual(keysOf(LANGUAGES.en));
    expect(wordsOf(LANGUAGES[language]).filter((words) => words.trim() === '')).toEqual([]);
  });

  it.each((Object.keys(LANGUAGES) as Language[]).filter((language) => language !== 'en'))('is not English in %s', (language) => {
    const same = wordsOf(LANGUAGES[language]).filter((words) => words.includes(' ') && wordsOf(LANGUAGES.en).includes(words));
    expect(same).toEqual([]);
  });
});

function keysOf(texts: object): string[] {
  return Object.entries(texts)
    .flatMap(([key, value]) => (typeof value === 'object' ? keysOf(value).map((inner) => `${key}.${inner}`) : [key]))
    .sort();
}

function wordsOf(texts: object): string[] {
  return Object.values(texts).flatMap((value) =>
    typeof value === 'string' ? [value] : typeof value === 'function' ? wordsOf([value(3, 4)]) : wordsOf(value),
  );
}
