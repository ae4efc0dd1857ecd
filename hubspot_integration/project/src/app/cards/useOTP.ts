// What the card knows and what it is doing: the logic without the words and the components.
import { useCallback, useEffect, useRef, useState } from 'react';
import type { API, Check, Outcome, Overview, Problem } from './api';

export type Action = 'generate' | 'resend' | 'verify' | 'reveal';

/** What the last click led to. */
export type News = { kind: 'issued' } | { kind: 'resent' } | { kind: 'checked'; check: Check; at: number };

export interface OTP {
  overview: Overview | null;
  problem: Problem | null;
  news: News | null;
  busy: Action | 'load' | null;
  /** the server's time, moving every second while something counts down */
  now: number;
  reload(): void;
  generate(): void;
  resend(): Promise<boolean>;
  verify(code: string): Promise<boolean>;
  reveal(reason: string): Promise<boolean>;
}

const FIRST_LOOK_MS = 1_500;
const LONGEST_LOOK_MS = 10_000;
const LOOKS = 20;
/** An intention older than this is a new one, even if it looks the same. */
const INTENTION_MS = 5 * 60_000;

export function useOTP(api: API): OTP {
  const [overview, setOverview] = useState<Overview | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [news, setNews] = useState<News | null>(null);
  const [busy, setBusy] = useState<Action | 'load' | null>('load');
  const mounted = useRef(true);
  const acting = useRef(false);
  // Counts what has been asked for: an answer that was overtaken is thrown away.
  const round = useRef(0);
  const intentions = useRef(new Map<string, { key: string; since: number }>());
  const shown = useRef<Overview | null>(null);

  const show = useCallback((next: Overview) => {
    shown.current = next;
    setOverview(next);
  }, []);

  const load = useCallback(async () => {
    const mine = ++round.current;
    setBusy('load');
    const outcome = await api.read();
    if (!mounted.current || mine !== round.current) {
      return;
    }
    setBusy(null);
    if (outcome.kind === 'done') {
      show(outcome.overview);
      setProblem(null);
    } else {
      setProblem(outcome.problem);
    }
  }, [api, show]);

  useEffect(() => {
    mounted.current = true;
    void load();
    return () => {
      mounted.current = false;
    };
  }, [load]);

  /** Do one thing for one intention of the user; tell whether it was done. */
  const act = useCallback(
    async (action: Action, intention: string, ask: (key: string) => Promise<Outcome>): Promise<boolean> => {
      if (acting.current) {
        return false;
      }
      acting.current = true;
      const mine = ++round.current;
      const before = shown.current?.active?.reference;
      const key = keyOf(intentions.current, intention);
      setBusy(action);
      setProblem(null);
      setNews(null);
      let outcome = await ask(key);
      if (outcome.kind !== 'lost') {
        intentions.current.delete(intention);
      }
      const asked = outcome;
      if (outcome.kind !== 'done') {
        // Look what is true now: it may have been done all the same, or somebody else was faster.
        const look = await api.read();
        const issued = action === 'generate' || action === 'resend';
        if (look.kind === 'done' && mounted.current && mine === round.current) {
          show(look.overview);
          if (outcome.kind === 'lost' && issued && look.overview.active && look.overview.active.reference !== before) {
            intentions.current.delete(intention);
            outcome = look;
          }
        }
      }
      acting.current = false;
      if (!mounted.current || mine !== round.current) {
        return false;
      }
      setBusy(null);
      if (outcome.kind !== 'done') {
        setProblem(asked.kind === 'done' ? null : asked.problem);
        return false;
      }
      show(outcome.overview);
      setNews(newsOf(action, outcome));
      return true;
    },
    [api, show],
  );

  useLooks(api, overview, busy, useCallback((next: Overview, started: number) => {
    if (mounted.current && started === round.current) {
      show(next);
    }
  }, [show]), round);

  return {
    overview,
    problem,
    news,
    busy,
    now: useNow(overview, problem),
    reload: () => void load(),
    generate: () => void act('generate', 'generate', (key) => api.generate(key)),
    resend: () => act('resend', 'resend', (key) => api.resend(key)),
    verify: (code) => act('verify', `verify ${code}`, (key) => api.verify(key, code)),
    reveal: (reason) => act('reveal', `reveal ${reason}`, (key) => api.reveal(key, reason)),
  };
}

function newsOf(action: Action, outcome: Outcome): News | null {
  if (action === 'generate') {
    return { kind: 'issued' };
  }
  if (action === 'resend') {
    return { kind: 'resent' };
  }
  if (action === 'verify' && outcome.kind === 'done' && outcome.check) {
    return { kind: 'checked', check: outcome.check, at: Date.now() + outcome.overview.clockOffset };
  }
  return null;
}

/** Ask again, ever more rarely, while mail or property are on their way; end when they settle or nobody is looking. */
function useLooks(
  api: API,
  overview: Overview | null,
  busy: OTP['busy'],
  show: (next: Overview, started: number) => void,
  round: { readonly current: number },
): void {
  const active = overview?.active;
  const pending = active?.emailStatus === 'pending' || active?.propertyStatus === 'pending';
  const subject = pending && busy === null ? active.reference : null;
  useEffect(() => {
    if (subject === null) {
      return undefined;
    }
    let looks = 0;
    let timer: ReturnType<typeof setTimeout>;
    const look = async () => {
      const started = round.current;
      const outcome = await api.read();
      looks += 1;
      if (outcome.kind === 'done') {
        show(outcome.overview, started);
      }
      schedule();
    };
    const schedule = () => {
      if (looks < LOOKS) {
        timer = setTimeout(() => void look(), Math.min(LONGEST_LOOK_MS, FIRST_LOOK_MS * 1.4 ** looks));
      }
    };
    schedule();
    return () => {
      looks = LOOKS;
      clearTimeout(timer);
    };
  }, [api, subject, show, round]);
}

/** The server's time, moving only while something on the card counts down. */
function useNow(overview: Overview | null, problem: Problem | null): number {
  const offset = overview?.clockOffset ?? 0;
  const [local, setLocal] = useState(() => Date.now());
  const until = Math.max(
    overview?.active ? overview.active.expiresAt - offset : 0,
    overview?.lockedUntil ? overview.lockedUntil - offset : 0,
    problem?.retryAt ?? 0,
  );
  useEffect(() => {
    setLocal(Date.now());
    if (until <= Date.now()) {
      return undefined;
    }
    const timer = setInterval(() => {
      setLocal(Date.now());
      if (Date.now() > until) {
        clearInterval(timer);
      }
    }, 1_000);
    return () => clearInterval(timer);
  }, [until]);
  return local + offset;
}

/** The same key for the same intention until its outcome is known: HubSpot and people repeat what seems to have failed. */
function keyOf(intentions: Map<string, { key: string; since: number }>, intention: string): string {
  const known = intentions.get(intention);
  if (known && Date.now() - known.since < INTENTION_MS) {
    return known.key;
  }
  const key = newKey();
  intentions.set(intention, { key, since: Date.now() });
  return key;
}

function newKey(): string {
  const random = () => Math.random().toString(36).slice(2, 12).padEnd(10, '0');
  // Unique, not secret: a worker without `crypto` gets one all the same.
  return globalThis.crypto?.randomUUID?.() ?? `${Date.now().toString(36)}-${random()}-${random()}`;
}
