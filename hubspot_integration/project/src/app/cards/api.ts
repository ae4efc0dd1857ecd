// The card's four calls and one question, each ending in exactly one of three ways.
import { hubspot } from '@hubspot/ui-extensions';

export type EmailStatus = 'pending' | 'sent' | 'failed' | 'bounced' | 'off';
export type PropertyStatus = 'pending' | 'written' | 'failed' | 'off';
export type DeliveryStatus = 'delivered' | 'partly' | 'failed' | 'pending' | 'off';
export type CodeVisibility = 'always' | 'reveal' | 'never';
export type Reason =
  | 'verified'
  | 'wrong_code'
  | 'malformed'
  | 'expired'
  | 'locked'
  | 'superseded'
  | 'already_used'
  | 'not_found';

export interface ActiveCode {
  /** null while the portal hides codes from agents */
  code: string | null;
  expiresAt: number;
  recipient: string;
  reference: string;
  emailStatus: EmailStatus;
  propertyStatus: PropertyStatus;
  deliveryStatus: DeliveryStatus;
  attemptsRemaining: number;
  /** before that the cooldown refuses another code */
  resendAt: number;
}

export interface LastVerification extends Check {
  at: number;
}

export interface CardSettings {
  sendsEmail: boolean;
  storesInProperty: boolean;
  propertyLabel: string;
  codeVisibility: CodeVisibility;
  expiryMinutes: number;
  newCodeEndsOlder: boolean;
  wrongAttemptsLimit: number;
}

export interface Overview {
  active: ActiveCode | null;
  lastVerification: LastVerification | null;
  settings: CardSettings;
  /** until then no code of the contact is accepted; null: it is not locked */
  lockedUntil: number | null;
  /** HubSpot says that the contact has no address to make a code for */
  missingAddress: boolean;
  /** what to add to this computer's clock to have the server's */
  clockOffset: number;
}

export interface Check {
  reason: Reason;
  attemptsRemaining: number;
}

/** Whether the check found or left the code locked: the fifth wrong code is answered as wrong, with none left. */
export function isLocked({ reason, attemptsRemaining }: Check): boolean {
  return reason === 'locked' || (reason === 'wrong_code' && attemptsRemaining === 0);
}

export interface Problem {
  code: string;
  /** the server's own sentence, for codes that this version of the card does not know */
  message: string;
  /** by this computer's clock */
  retryAt: number | null;
}

/**
 * `lost`: nobody knows whether the server did it (no answer, an error page, an answer nobody can read). Asking again
 * with the same idempotency key is then the right thing to do.
 */
export type Outcome = { kind: 'done'; overview: Overview; check: Check | null } | { kind: 'refused' | 'lost'; problem: Problem };

export interface API {
  read(): Promise<Outcome>;
  generate(idempotencyKey: string): Promise<Outcome>;
  resend(idempotencyKey: string): Promise<Outcome>;
  verify(idempotencyKey: string, code: string): Promise<Outcome>;
  reveal(idempotencyKey: string, reason: string): Promise<Outcome>;
}

const TIMEOUT_MS = 12_000;

export function connect(baseUrl: string, contactId: number): API {
  const address = `${baseUrl}/hubspot/cards/otp`;
  const post = (path: string, body: Record<string, unknown>) =>
    call(`${address}/${path}`, { method: 'POST', timeout: TIMEOUT_MS, body: { contactId, ...body } });
  return {
    read: () => call(`${address}?contactId=${contactId}`, { method: 'GET', timeout: TIMEOUT_MS }),
    generate: (idempotencyKey) => post('generate', { idempotencyKey }),
    resend: (idempotencyKey) => post('resend', { idempotencyKey }),
    verify: (idempotencyKey, code) => post('verify', { idempotencyKey, code }),
    reveal: (idempotencyKey, reason) => post('reveal', { idempotencyKey, reason }),
  };
}

async function call(url: string, options: Parameters<typeof hubspot.fetch>[1]): Promise<Outcome> {
  let response: Response;
  let answer: unknown;
  try {
    response = await hubspot.fetch(url, options);
    answer = await response.json();
  } catch {
    return lost('unreachable');
  }
  // HubSpot's proxy may wrap a refusal of our server in an envelope that is itself a success.
  const envelope = isRecord(answer) && answer.status === 'error' && isRecord(answer.context) ? answer.context : null;
  const status = envelope ? statusOf(envelope.appServerStatusCode) : response.status;
  if (status === 401) {
    return { kind: 'refused', problem: { code: 'unauthorized', message: '', retryAt: null } };
  }
  if (status === 429) {
    return lost('busy');
  }
  if (envelope || !response.ok) {
    return lost('unreachable');
  }
  return read(answer) ?? lost('unreadable');
}

function lost(code: string): Outcome {
  return { kind: 'lost', problem: { code, message: '', retryAt: null } };
}

function statusOf(value: unknown): number {
  return Number(Array.isArray(value) ? value[0] : value) || 502;
}

function read(answer: unknown): Outcome | null {
  if (!isRecord(answer)) {
    return null;
  }
  if (answer.ok === false && isRecord(answer.error) && isText(answer.error.code)) {
    const { code, message, retryAfterSeconds } = answer.error;
    return {
      kind: 'refused',
      problem: {
        code,
        message: isText(message) ? message : '',
        retryAt: isNumber(retryAfterSeconds) ? Date.now() + retryAfterSeconds * 1000 : null,
      },
    };
  }
  const overview = answer.ok === true ? readOverview(answer) : null;
  if (!overview) {
    return null;
  }
  const check =
    isText(answer.reason) && isNumber(answer.attemptsRemaining)
      ? { reason: answer.reason as Reason, attemptsRemaining: answer.attemptsRemaining }
      : null;
  return { kind: 'done', overview, check };
}

function readOverview(answer: Record<string, unknown>): Overview | null {
  const { active, lastVerification, settings, lockedUntil, missingAddress } = answer;
  if (!isRecord(settings) || !isText(settings.codeVisibility)) {
    return null;
  }
  const code = isRecord(active) ? readActive(active) : null;
  if (isRecord(active) && !code) {
    return null;
  }
  return {
    active: code,
    lastVerification:
      isRecord(lastVerification) && isText(lastVerification.reason) && isText(lastVerification.at)
        ? {
            reason: lastVerification.reason as Reason,
            attemptsRemaining: isNumber(lastVerification.attemptsRemaining) ? lastVerification.attemptsRemaining : 0,
            at: Date.parse(lastVerification.at),
          }
        : null,
    settings: {
      sendsEmail: settings.sendsEmail === true,
      storesInProperty: settings.storesInProperty === true,
      propertyLabel: isText(settings.propertyLabel) ? settings.propertyLabel : '',
      codeVisibility: settings.codeVisibility as CodeVisibility,
      expiryMinutes: isNumber(settings.expiryMinutes) ? settings.expiryMinutes : 0,
      newCodeEndsOlder: settings.newCodeEndsOlder !== false,
      wrongAttemptsLimit: isNumber(settings.wrongAttemptsLimit) ? settings.wrongAttemptsLimit : 0,
    },
    lockedUntil: isText(lockedUntil) ? momentOf(lockedUntil) : null,
    missingAddress: missingAddress === true,
    clockOffset: isText(settings.serverTime) ? Date.parse(settings.serverTime) - Date.now() : 0,
  };
}

function readActive(active: Record<string, unknown>): ActiveCode | null {
  const { code, expiresAt, recipient, reference, emailStatus, propertyStatus, deliveryStatus, attemptsRemaining, resendAt } =
    active;
  if (!isText(expiresAt) || !isText(reference) || Number.isNaN(Date.parse(expiresAt))) {
    return null;
  }
  return {
    code: isText(code) && code ? code : null,
    expiresAt: Date.parse(expiresAt),
    recipient: isText(recipient) ? recipient : '',
    reference,
    emailStatus: isText(emailStatus) ? (emailStatus as EmailStatus) : 'off',
    propertyStatus: isText(propertyStatus) ? (propertyStatus as PropertyStatus) : 'off',
    deliveryStatus: isText(deliveryStatus) ? (deliveryStatus as DeliveryStatus) : 'off',
    attemptsRemaining: isNumber(attemptsRemaining) ? attemptsRemaining : 0,
    resendAt: (isText(resendAt) && momentOf(resendAt)) || 0,
  };
}

function momentOf(text: string): number | null {
  const moment = Date.parse(text);
  return Number.isNaN(moment) ? null : moment;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
