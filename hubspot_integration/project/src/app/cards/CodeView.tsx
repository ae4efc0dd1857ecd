import {
  Accordion,
  Button,
  DescriptionList,
  DescriptionListItem,
  Flex,
  Heading,
  StatusTag,
  Text,
  Tile,
} from '@hubspot/ui-extensions';
import type { ReactNode } from 'react';
import type { ActiveCode, CardSettings, EmailStatus, PropertyStatus } from './api';
import { clock, countdown, grouped } from './format';
import type { Texts } from './texts';

const TONES = {
  pending: 'warning',
  sent: 'success',
  written: 'success',
  failed: 'danger',
  bounced: 'danger',
  off: 'default',
} as const satisfies Record<EmailStatus | PropertyStatus, string>;

interface Props {
  active: ActiveCode;
  settings: CardSettings;
  secondsLeft: number;
  isIdle: boolean;
  texts: Texts;
  locale: string;
  now: number;
  onCopy: (code: string) => void;
  onReveal: (() => void) | null;
  /** what stands between the code and the facts about it */
  children: ReactNode;
}

/** The code, and what there is to know about it. */
export function CodeView(props: Props) {
  const { active, settings, secondsLeft, isIdle, texts, locale, now, onCopy, onReveal, children } = props;
  const { code } = active;
  return (
    <>
      <Tile compact>
        {code === null ? (
          <Flex direction="column" gap="small">
            <Text>{settings.codeVisibility === 'never' ? texts.never : texts.masked}</Text>
            {settings.codeVisibility === 'reveal' && onReveal && (
              <Flex>
                <Button variant="secondary" size="sm" onClick={onReveal} disabled={!isIdle}>
                  {texts.reveal}
                </Button>
              </Flex>
            )}
          </Flex>
        ) : (
          <Flex direction="row" justify="between" align="center" gap="small" wrap>
            <Heading>{grouped(code)}</Heading>
            <Button variant="secondary" onClick={() => onCopy(code)}>
              {texts.copy}
            </Button>
          </Flex>
        )}
      </Tile>
      {children}
      <DescriptionList direction="row">
        <DescriptionListItem label={texts.validFor}>
          <Text>{countdown(secondsLeft)}</Text>
        </DescriptionListItem>
        <DescriptionListItem label={texts.recipient}>
          <Text>{active.recipient}</Text>
        </DescriptionListItem>
        <DescriptionListItem label={texts.email}>
          <StatusTag variant={TONES[active.emailStatus] ?? 'default'}>{texts.emailStatus[active.emailStatus]}</StatusTag>
        </DescriptionListItem>
        <DescriptionListItem label={texts.storedIn}>
          <Flex direction="row" gap="xs" align="center" wrap>
            {settings.storesInProperty && active.propertyStatus !== 'off' && <Text inline>{settings.propertyLabel}</Text>}
            <StatusTag variant={TONES[active.propertyStatus] ?? 'default'}>
              {texts.propertyStatus[active.propertyStatus]}
            </StatusTag>
          </Flex>
        </DescriptionListItem>
      </DescriptionList>
      <Accordion title={texts.details} size="extra-small">
        <DescriptionList direction="row">
          <DescriptionListItem label={texts.expiresAt}>
            <Text>{clock(active.expiresAt, locale, now)}</Text>
          </DescriptionListItem>
          <DescriptionListItem label={texts.reference}>
            <Text variant="microcopy">{active.reference}</Text>
          </DescriptionListItem>
        </DescriptionList>
      </Accordion>
    </>
  );
}
