import {
  Alert,
  Button,
  Flex,
  LoadingSpinner,
  StatusTag,
  useExtensionActions,
  useExtensionContext,
} from '@hubspot/ui-extensions';
import { useMemo, useState } from 'react';
import { connect } from './api';
import type { API, Overview, Problem } from './api';
import { CodeView } from './CodeView';
import { CheckForm, GenerateButton, ResendPanel, RevealPanel } from './forms';
import { clock } from './format';
import { LANGUAGES, languageOf, localeOf } from './languages';
import { ProblemAlert, StateAlert } from './StateAlert';
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
  const until = (moment: number) => Math.max(0, Math.ceil((moment - otp.now) / 1000));
  const secondsLeft = overview.active ? until(overview.active.expiresAt) : 0;
  const active = overview.active && secondsLeft > 0 ? overview.active : null;
  const lockSeconds = overview.lockedUntil ? until(overview.lockedUntil) : 0;
  const retrySeconds = otp.problem?.retryAt ? until(otp.problem.retryAt + overview.clockOffset) : 0;

  const copy = (code: string) => {
    // Within the click: browsers allow it there only.
    actions.copyTextToClipboard(code).then(
      () => actions.addAlert({ type: 'success', message: texts.copied }),
      () => actions.addAlert({ type: 'danger', message: texts.copyFailed }),
    );
  };
  // Never beside a live code: the badge would seem to speak of that one.
  const verified = lastVerification?.reason === 'verified' && otp.news?.kind !== 'checked' && !active;

  return (
    <Flex direction="column" gap="medium">
      <StateAlert otp={otp} overview={overview} lockSeconds={lockSeconds} retrySeconds={retrySeconds} texts={texts} locale={locale} />
      {verified && lastVerification && (
        <Flex>
          <StatusTag variant="success">{texts.verifiedAt(clock(lastVerification.at, locale, otp.now))}</StatusTag>
        </Flex>
      )}
      {active ? (
        <>
          <CodeView
            active={active}
            settings={settings}
            secondsLeft={secondsLeft}
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
            isPrimary={panel === null}
            attemptsRemaining={active.attemptsRemaining}
            waitSeconds={lockSeconds}
            onSubmit={(code) => void otp.verify(code).then((done) => done && setTyped(''))}
          />
          {settings.sendsEmail && (
            <ResendPanel
              texts={texts}
              busy={otp.busy}
              recipient={active.recipient}
              endsOlder={settings.newCodeEndsOlder}
              isOpen={panel === 'resend'}
              waitSeconds={Math.max(retrySeconds, lockSeconds, until(active.resendAt))}
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
          waitSeconds={Math.max(retrySeconds, lockSeconds)}
          isPossible={!overview.missingAddress}
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
