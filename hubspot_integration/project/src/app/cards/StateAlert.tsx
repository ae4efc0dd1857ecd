import { Alert, Text } from '@hubspot/ui-extensions';
import { isLocked } from './api';
import type { ActiveCode, CardSettings, Check, Overview, Problem } from './api';
import { clock, inWords } from './format';
import type { Notice, Texts } from './texts';
import type { OTP } from './useOTP';

interface StateProps {
  otp: OTP;
  overview: Overview;
  lockSeconds: number;
  retrySeconds: number;
  texts: Texts;
  locale: string;
}

/** The one thing that is true first: a lock, what went wrong, how a check ended, or what became of the code. */
export function StateAlert({ otp, overview, lockSeconds, retrySeconds, texts, locale }: StateProps) {
  const { problem, news } = otp;
  const { active, lockedUntil, settings, lastVerification, missingAddress } = overview;
  if (lockedUntil && lockSeconds > 0) {
    return <NoticeAlert notice={texts.locked(clock(lockedUntil, locale, otp.now), settings.wrongAttemptsLimit)} variant="danger" />;
  }
  // A limit whose time is over is no news any more.
  if (problem && (problem.retryAt === null || retrySeconds > 0)) {
    return <ProblemAlert problem={problem} texts={texts} wait={inWords(retrySeconds, locale)} />;
  }
  if (news?.kind === 'checked') {
    return <CheckAlert check={news.check} at={news.at} now={otp.now} texts={texts} locale={locale} />;
  }
  if (active && active.expiresAt <= otp.now) {
    return <NoticeAlert notice={texts.expired} variant="warning" />;
  }
  if (active) {
    const title = news?.kind === 'issued' ? texts.issued : news?.kind === 'resent' ? texts.resent : texts.active;
    return <DeliveryAlert active={active} title={title} isNew={news !== null} settings={settings} texts={texts} />;
  }
  if (missingAddress) {
    return <NoticeAlert notice={texts.problems.missing_email} variant="warning" />;
  }
  if (lastVerification && isLocked(lastVerification)) {
    return <NoticeAlert notice={texts.results.locked} variant="danger" />;
  }
  return <Text>{texts.none}</Text>;
}

function NoticeAlert({ notice, variant }: { notice: Notice; variant: 'danger' | 'warning' | 'success' | 'info' }) {
  return (
    <Alert title={notice.title} variant={variant}>
      {notice.body}
    </Alert>
  );
}

/** How the check of what the customer read out has ended. */
function CheckAlert(props: { check: Check; at: number; now: number; texts: Texts; locale: string }) {
  const { check, at, now, texts, locale } = props;
  const { title, body } = texts.results[check.reason] ?? texts.results.not_found;
  if (check.reason === 'verified') {
    return <NoticeAlert notice={{ title: texts.verifiedAt(clock(at, locale, now)), body }} variant="success" />;
  }
  if (isLocked(check)) {
    return <NoticeAlert notice={texts.results.locked} variant="danger" />;
  }
  if (check.reason === 'wrong_code') {
    return <NoticeAlert notice={{ title, body: `${body} ${texts.attemptsLeft(check.attemptsRemaining)}.` }} variant="danger" />;
  }
  return <NoticeAlert notice={{ title, body }} variant="warning" />;
}

/** What there is, and what became of it: a code that reached nobody is no good news. */
function DeliveryAlert(props: { active: ActiveCode; title: string; isNew: boolean; settings: CardSettings; texts: Texts }) {
  const { active, title, isNew, settings, texts } = props;
  const status = active.deliveryStatus;
  const sentences = [
    active.emailStatus === 'sent' && texts.emailSent(active.recipient),
    active.emailStatus === 'pending' && texts.emailPending,
    active.emailStatus === 'failed' && texts.emailFailed,
    active.emailStatus === 'bounced' && texts.emailBounced,
    active.propertyStatus === 'written' && texts.stored(settings.propertyLabel),
    active.propertyStatus === 'pending' && texts.storing,
    active.propertyStatus === 'failed' && texts.propertyFailed,
    status === 'off' && texts.nothingOn,
  ];
  const body = sentences.filter(Boolean).join(' ');
  if (status === 'delivered' || status === 'pending') {
    return <NoticeAlert notice={{ title, body }} variant={isNew ? 'success' : 'info'} />;
  }
  const variant = status === 'failed' ? 'danger' : 'warning';
  return <NoticeAlert notice={{ title: `${title}: ${texts.undelivered[status] ?? ''}`, body }} variant={variant} />;
}

/** Why something was not done, and when to try again. */
export function ProblemAlert({ problem, texts, wait }: { problem: Problem; texts: Texts; wait: string }) {
  const known: Partial<Record<string, { title: string; body: string }>> = texts.problems;
  const notice = known[problem.code] ?? { title: texts.problems.internal.title, body: problem.message };
  const body = [notice.body, wait && texts.again(wait)].join(' ');
  return (
    <Alert title={notice.title} variant={problem.code === 'rate_limited' ? 'warning' : 'danger'}>
      {body.trim()}
    </Alert>
  );
}
