// A stand-in for the card's server: what it knows, what it was asked, and how it fails.
import { hubspot } from '@hubspot/ui-extensions';
import { vi } from 'vitest';

export interface Call {
  method: string;
  path: string;
  body: Record<string, unknown>;
}

type Failure = 'throws' | 'error page' | 'server error' | 'envelope' | 'too many' | 'nonsense' | 'unauthorized';
type Answer = Record<string, unknown>;

export const CODE = '482951';
export const RECIPIENT = 'ada@example.com';
export const LOST: Failure[] = ['throws', 'error page', 'server error', 'envelope', 'too many', 'nonsense'];

export class Backend {
  calls: Call[] = [];
  active: Answer | null = null;
  lastVerification: Answer | null = null;
  settings: Answer = {
    sendsEmail: true,
    storesInProperty: true,
    propertyName: 'otp_code',
    propertyLabel: 'OTP code',
    codeVisibility: 'always',
    expiryMinutes: 10,
    newCodeEndsOlder: true,
    wrongAttemptsLimit: 10,
  };
  lockedUntil: string | null = null;
  missingAddress = false;
  private planned: { path: string; answer: Answer | Failure; times: number }[] = [];
  private issued = 0;
  private held: (() => void)[] | null = null;

  constructor() {
    vi.spyOn(hubspot, 'fetch').mockImplementation(async (url, options) => this.serve(String(url), options));
  }

  /** An active code, as the server describes it. */
  issue(changes: Answer = {}, secondsLeft = 600): this {
    this.issued += 1;
    this.active = {
      code: CODE,
      expiresAt: new Date(Date.now() + secondsLeft * 1000).toISOString(),
      recipient: RECIPIENT,
      reference: `01a208b5-9d62-71ab-9457-00000000000${this.issued}`,
      emailStatus: 'sent',
      propertyStatus: 'written',
      attemptsRemaining: 5,
      resendAt: new Date(Date.now()).toISOString(),
      ...changes,
    };
    return this;
  }

  /** Answer the next calls of a path in another way. */
  plan(path: string, answer: Answer | Failure, times = 1): this {
    this.planned.push({ path, answer, times });
    return this;
  }

  refuse(path: string, code: string, more: Answer = {}): this {
    return this.plan(path, { ok: false, error: { code, message: 'Something is the matter. Do this.', ...more } });
  }

  /** Let calls wait until `release`. */
  hold(): void {
    this.held = [];
  }

  release(): void {
    const waiting = this.held ?? [];
    this.held = null;
    waiting.forEach((go) => go());
  }

  to(path: string): Call[] {
    return this.calls.filter((call) => call.path === path);
  }

  keys(path: string): unknown[] {
    return this.to(path).map((call) => call.body.idempotencyKey);
  }

  overview(more: Answer = {}): Answer {
    return {
      ok: true,
      active: this.active && { ...this.active, deliveryStatus: summary(this.active) },
      lockedUntil: this.lockedUntil,
      missingAddress: this.missingAddress,
      lastVerification: this.lastVerification,
      settings: { ...this.settings, serverTime: new Date().toISOString() },
      ...more,
    };
  }

  private async serve(url: string, options?: { method?: string; body?: Record<string, unknown> }): Promise<Response> {
    const path = new URL(url).pathname.replace('/hubspot/cards/', '');
    this.calls.push({ method: options?.method ?? 'GET', path, body: options?.body ?? {} });
    if (this.held) {
      await new Promise<void>((go) => this.held?.push(go));
    }
    const plan = this.planned.find((one) => one.path === path && one.times > 0);
    if (plan) {
      plan.times -= 1;
      return typeof plan.answer === 'string' ? fail(plan.answer) : json(plan.answer);
    }
    return json(this.answerTo(path));
  }

  private answerTo(path: string): Answer {
    if (path === 'otp/generate' || path === 'otp/resend') {
      const isHidden = this.settings.codeVisibility !== 'always';
      this.issue({ emailStatus: 'pending', propertyStatus: 'pending', ...(isHidden && { code: null }) });
    }
    if (path === 'otp/reveal') {
      return this.overview({ active: { ...this.active, code: CODE } });
    }
    return this.overview();
  }
}

/** What the server makes of both deliveries. */
function summary({ emailStatus, propertyStatus }: Answer): string {
  const on = [emailStatus, propertyStatus].filter((status) => status !== 'off');
  const made = on.filter((status) => status === 'sent' || status === 'written').length;
  if (on.length === 0) {
    return 'off';
  }
  if (on.includes('pending')) {
    return 'pending';
  }
  return made === on.length ? 'delivered' : made > 0 ? 'partly' : 'failed';
}

function json(body: unknown, status = 200): Response {
  return answer(JSON.stringify(body), status);
}

/** As much of a Response as the card reads. A real one reads its body through streams, which no fake clock waits for. */
function answer(text: string, status: number): Response {
  return { ok: status < 400, status, json: async () => JSON.parse(text) as unknown } as Response;
}

function fail(how: Failure): Response {
  switch (how) {
    case 'throws':
      throw new TypeError('network');
    case 'error page':
      return answer('<h1>Bad gateway</h1>', 502);
    case 'server error':
      return json({ error: { code: 'unavailable', message: 'Call again.' } }, 503);
    case 'envelope':
      return json({
        status: 'error',
        category: 'BAD_GATEWAY',
        context: { appServerStatusCode: ['500'] },
        responseBody: {},
      });
    case 'too many':
      return json({ status: 'error', category: 'RATE_LIMITS' }, 429);
    case 'nonsense':
      return json({ ok: true, active: { code: 5 } });
    case 'unauthorized':
      return json({ error: { code: 'authentication_failed', message: '' } }, 401);
  }
}
