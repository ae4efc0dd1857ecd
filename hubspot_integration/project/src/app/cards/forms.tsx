import { Button, ButtonRow, Divider, Flex, Form, Input, LoadingButton, Text, TextArea } from '@hubspot/ui-extensions';
import { useState } from 'react';
import type { CardSettings } from './api';
import { countdown } from './format';
import type { Texts } from './texts';
import type { OTP } from './useOTP';

const MAXIMUM_REASON = 200;

interface GenerateProps {
  texts: Texts;
  settings: CardSettings;
  busy: OTP['busy'];
  waitSeconds: number;
  isPossible: boolean;
  onGenerate: () => void;
}

/** There is no active code: what a new one would do, and the button that makes it. */
export function GenerateButton({ texts, settings, busy, waitSeconds, isPossible, onGenerate }: GenerateProps) {
  const sentences = [
    settings.expiryMinutes > 0 && texts.willBeAccepted(settings.expiryMinutes),
    settings.sendsEmail && texts.willBeMailed,
    settings.storesInProperty && texts.willBeStored(settings.propertyLabel),
  ];
  return (
    <Flex direction="column" gap="small">
      <Text variant="microcopy">{sentences.filter(Boolean).join(' ')}</Text>
      <LoadingButton
        variant="primary"
        onClick={onGenerate}
        loading={busy === 'generate'}
        disabled={busy !== null || waitSeconds > 0 || !isPossible}
      >
        {withWait(texts.generate, waitSeconds)}
      </LoadingButton>
    </Flex>
  );
}

interface CheckProps {
  texts: Texts;
  busy: OTP['busy'];
  value: string;
  onInput: (value: string) => void;
  isPrimary: boolean;
  attemptsRemaining: number;
  waitSeconds: number;
  onSubmit: (code: string) => void;
}

/** Type what the customer reads out. */
export function CheckForm({ texts, busy, value, onInput, isPrimary, attemptsRemaining, waitSeconds, onSubmit }: CheckProps) {
  return (
    <Form
      preventDefault
      autoComplete="off"
      onSubmit={() => {
        if (value.trim() && busy === null && waitSeconds === 0) {
          onSubmit(value.trim());
        }
      }}
    >
      <Flex direction="column" gap="small">
        <Divider />
        <Input
          name="code"
          label={texts.codeLabel}
          description={texts.codeDescription}
          value={value}
          onInput={onInput}
          onChange={onInput}
        />
        <Flex direction="row" align="center" gap="small" wrap>
          <LoadingButton
            type="submit"
            variant={isPrimary ? 'primary' : 'secondary'}
            loading={busy === 'verify'}
            disabled={busy !== null || waitSeconds > 0}
          >
            {withWait(texts.verify, waitSeconds)}
          </LoadingButton>
          <Text variant="microcopy">{texts.attemptsLeft(attemptsRemaining)}</Text>
        </Flex>
      </Flex>
    </Form>
  );
}

interface ResendProps {
  texts: Texts;
  busy: OTP['busy'];
  recipient: string;
  endsOlder: boolean;
  isOpen: boolean;
  waitSeconds: number;
  onOpen: () => void;
  onCancel: () => void;
  onConfirm: () => void;
}

/** A new code by e-mail, only after the agent has seen to whom it goes. */
export function ResendPanel(props: ResendProps) {
  const { texts, busy, recipient, endsOlder, isOpen, waitSeconds, onOpen, onCancel, onConfirm } = props;
  if (!isOpen) {
    return (
      <Flex direction="column" gap="small">
        <Divider />
        <Flex>
          <Button variant="secondary" onClick={onOpen} disabled={busy !== null || waitSeconds > 0}>
            {withWait(texts.resend, waitSeconds)}
          </Button>
        </Flex>
      </Flex>
    );
  }
  return (
    <Flex direction="column" gap="small">
      <Divider />
      <Text format={{ fontWeight: 'demibold' }}>{texts.resendQuestion}</Text>
      <Text>{`${texts.resendBody(recipient)} ${endsOlder ? texts.resendEnds : texts.resendKeeps}`}</Text>
      <ButtonRow>
        <LoadingButton
          variant="primary"
          onClick={onConfirm}
          loading={busy === 'resend'}
          disabled={busy !== null || waitSeconds > 0}
        >
          {withWait(texts.confirmResend, waitSeconds)}
        </LoadingButton>
        <Button variant="secondary" onClick={onCancel} disabled={busy === 'resend'}>
          {texts.cancel}
        </Button>
      </ButtonRow>
    </Flex>
  );
}

interface RevealProps {
  texts: Texts;
  busy: OTP['busy'];
  onReveal: (reason: string) => void;
  onCancel: () => void;
}

/** The code is shown for a reason, which is recorded. */
export function RevealPanel({ texts, busy, onReveal, onCancel }: RevealProps) {
  const [reason, setReason] = useState('');
  const [isMissing, setIsMissing] = useState(false);
  const change = (value: string) => {
    setReason(value);
    setIsMissing(false);
  };
  return (
    <Form
      preventDefault
      onSubmit={() => {
        if (reason.trim()) {
          onReveal(reason.trim());
        } else {
          setIsMissing(true);
        }
      }}
    >
      <Flex direction="column" gap="small">
        <TextArea
          name="reason"
          label={texts.reason}
          description={texts.reasonDescription}
          value={reason}
          onInput={change}
          onChange={change}
          rows={2}
          maxLength={MAXIMUM_REASON}
          required
          error={isMissing}
          validationMessage={isMissing ? texts.reasonMissing : ''}
        />
        <ButtonRow>
          <LoadingButton type="submit" variant="primary" loading={busy === 'reveal'} disabled={busy !== null}>
            {texts.reveal}
          </LoadingButton>
          <Button variant="secondary" onClick={onCancel} disabled={busy === 'reveal'}>
            {texts.cancel}
          </Button>
        </ButtonRow>
      </Flex>
    </Form>
  );
}

function withWait(label: string, seconds: number): string {
  return seconds > 0 ? `${label} (${countdown(seconds)})` : label;
}
