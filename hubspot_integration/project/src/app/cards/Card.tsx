import {
  Alert,
  Button,
  Flex,
  LoadingSpinner,
  StatusTag,
  Text,
  useExtensionActions,
  useExtensionContext,
} from '@hubspot/ui-extensions';
import { useMemo, useState } from 'react';
import { connect, isLocked } from './api';
import type { API, Overview, Problem } from './api';
import { CodeView } from './CodeView';
import { CheckForm, GenerateButton, ResendPanel, RevealPanel } from './forms';
import { clock, inWords } from './format';
import { LANGUAGES, languageOf, localeOf } from './languages';
import type { Texts } from './texts';
import { useOTP } from './useOTP';
import type { OTP } from './useOTP';

/** The card: whom it is about and where its server is, from what HubSpot says of the page. */
export function Card() {
  const { crm, user, variables } = useExtensionContext<'crm.record.sidebar'>();
  const texts = LANGUAGES[languageOf(user)];
  const baseUrl = variables?.API_BASE;
  const api = useMemo(
    () => (typeof baseUrl === 'string' && baseUrl ? connect(baseUrl.replace(/\/$/, ''), crm.objectId) : null),
    [baseUrl, crm.objectId],
  );
  if (!api || typeof baseUrl !== 'string') {
    const { title, body } = texts.problems.not_set_up;
    return (
      <Alert title={title} variant="danger">
        {body}
      </Alert>
    );
  }
  return (
    <ContactCard
      key={crm.objectId}
      api={api}
      texts={texts}
      locale={localeOf(user)}
      settingsUrl={`${baseUrl.replace(/\/$/, '')}/settings/`}
    />
  );
}

interface ContactCardProps {
  api: API;
  texts: Texts;
  locale: string;
  settingsUrl: string;
}

function ContactCard({ api, texts, locale, settingsUrl }: ContactCardProps) {
  const otp = useOTP(api);
  const { overview, problem } = otp;
  if (!overview) {
    return problem ? (
      <Broken problem={problem} otp={otp} texts={texts} settingsUrl={settingsUrl} />
    ) : (
      <LoadingSpinner label={texts.loading} showLabel layout="centered" />
    );
  }
  if (problem?.code === 'not_connected') {
    return <Broken problem={problem} otp={otp} texts={texts} settingsUrl={settingsUrl} />;
  }
  return <Loaded otp={otp} overview={overview} texts={texts} locale={locale} />;
}

/** Nothing can be shown: say why, and what to do. */
function Broken(props: { problem: Problem; otp: OTP; texts: Texts; settingsUrl: string }) {
  const { problem, otp, texts, settingsUrl } = props;
  return (
    <Flex direction="column" gap="medium">
      <ProblemAlert problem={problem} texts={texts} wait="" />
      <Flex gap="small" wrap>
        <Button variant="primary" onClick={otp.reload} disabled={otp.busy !== null}>
          {texts.tryAgain}
        </Button>
        {problem.code === 'not_connected' && (
          <Button variant="secondary" href={{ url: settingsUrl, external: true }}>
            {texts.openSettings}
          </Button>
        )}
      </Flex>
    </Flex>
  );
}

/** Which of the forms below the code is open; the open one has the primary button. */
type Panel = 'resend' | 'reveal' | null;

function Loaded(props: { otp: OTP; overview: Overview; texts: Texts; locale: string }) {
  const { otp, overview, texts, locale } = props;
  const actions = useExtensionActions<'crm.record.sidebar'>();
  const [panel, setPanel] = useState<Panel>(null);
  const [typed, setTyped] = useState('');
  const { settings, lastVerification } = overview;
  const secondsLeft = overview.active ? Math.ceil((overview.active.expiresAt - otp.now) / 1000) : 0;
  const active = overview.active && secondsLeft > 0 ? overview.active : null;
  const waitSeconds = otp.problem?.retryAt
    ? Math.max(0, Math.ceil((otp.problem.retryAt + overview.clockOffset - otp.now) / 1000))
    : 0;

  const copy = (code: string) => {
    // Within the click: browsers allow it there only.
    actions.copyTextToClipboard(code).then(
      () => actions.addAlert({ type: 'success', message: texts.copied }),
      () => actions.addAlert({ type: 'danger', message: texts.copyFailed }),
    );
  };
  const verified = lastVerification?.reason === 'verified' && otp.news?.kind !== 'checked';

  return (
    <Flex direction="column" gap="medium">
      {otp.problem && <ProblemAlert problem={otp.problem} texts={texts} wait={inWords(waitSeconds, locale)} />}
      {verified && lastVerification && (
        <Flex>
          <StatusTag variant="success">{texts.verifiedAt(clock(lastVerification.at, locale, otp.now))}</StatusTag>
        </Flex>
      )}
      <NewsAlert otp={otp} overview={overview} isLive={active !== null} texts={texts} locale={locale} />
      {active ? (
        <>
          <CodeView
            active={active}
            settings={settings}
            secondsLeft={secondsLeft}
            copyIsPrimary={panel === null && !typed}
            isIdle={otp.busy === null}
            texts={texts}
            locale={locale}
            now={otp.now}
            onCopy={copy}
            onReveal={panel === null ? () => setPanel('reveal') : null}
          >
            {panel === 'reveal' && (
              <RevealPanel
                texts={texts}
                busy={otp.busy}
                onReveal={(reason) => void otp.reveal(reason).then((done) => done && setPanel(null))}
                onCancel={() => setPanel(null)}
              />
            )}
          </CodeView>
          <CheckForm
            texts={texts}
            busy={otp.busy}
            value={typed}
            onInput={setTyped}
            isPrimary={panel === null && (typed !== '' || active.code === null)}
            attemptsRemaining={active.attemptsRemaining}
            onSubmit={(code) => void otp.verify(code).then((done) => done && setTyped(''))}
          />
          {settings.sendsEmail && (
            <ResendPanel
              texts={texts}
              busy={otp.busy}
              recipient={active.recipient}
              isOpen={panel === 'resend'}
              waitSeconds={waitSeconds}
              onOpen={() => setPanel('resend')}
              onCancel={() => setPanel(null)}
              onConfirm={() => void otp.resend().then((done) => done && setPanel(null))}
            />
          )}
        </>
      ) : (
        <GenerateButton
          texts={texts}
          settings={settings}
          busy={otp.busy}
          waitSeconds={waitSeconds}
          onGenerate={() => {
            setPanel(null);
            setTyped('');
            otp.generate();
          }}
        />
      )}
    </Flex>
  );
}

function ProblemAlert({ problem, texts, wait }: { problem: Problem; texts: Texts; wait: string }) {
  const known: Partial<Record<string, { title: string; body: string }>> = texts.problems;
  const notice = known[problem.code] ?? { title: texts.problems.internal.title, body: problem.message };
  const body = problem.retryAt !== null && wait === '' ? notice.body : [notice.body, wait && texts.again(wait)].join(' ');
  return (
    <Alert title={notice.title} variant={problem.code === 'rate_limited' ? 'warning' : 'danger'}>
      {body.trim()}
    </Alert>
  );
}

/** What the last click led to; without one, what was found on opening. */
function NewsAlert(props: { otp: OTP; overview: Overview; isLive: boolean; texts: Texts; locale: string }) {
  const { otp, overview, isLive, texts, locale } = props;
  const { news } = otp;
  if (news?.kind === 'checked') {
    const { reason, attemptsRemaining } = news.check;
    const { title, body } = texts.results[reason] ?? texts.results.not_found;
    if (reason === 'verified') {
      return (
        <Alert title={texts.verifiedAt(clock(news.at, locale, otp.now))} variant="success">
          {body}
        </Alert>
      );
    }
    if (isLocked(news.check)) {
      return (
        <Alert title={texts.results.locked.title} variant="danger">
          {texts.results.locked.body}
        </Alert>
      );
    }
    return (
      <Alert title={title} variant={reason === 'wrong_code' ? 'danger' : 'warning'}>
        {reason === 'wrong_code' ? `${body} ${texts.attemptsLeft(attemptsRemaining)}.` : body}
      </Alert>
    );
  }
  if (overview.active && !isLive) {
    return (
      <Alert title={texts.expired.title} variant="warning">
        {texts.expired.body}
      </Alert>
    );
  }
  if (!isLive) {
    return overview.lastVerification && isLocked(overview.lastVerification) ? (
      <Alert title={texts.results.locked.title} variant="danger">
        {texts.results.locked.body}
      </Alert>
    ) : (
      <Text>{texts.none}</Text>
    );
  }
  const notice = news?.kind === 'issued' ? texts.issued : news?.kind === 'resent' ? texts.resent : texts.active;
  return (
    <Alert title={notice.title} variant={news ? 'success' : 'info'}>
      {notice.body}
    </Alert>
  );
}
