import {
  Alert,
  Button,
  DescriptionList,
  DescriptionListItem,
  Flex,
  hubspot,
  LoadingSpinner,
  StatusTag,
  Text,
  useExtensionContext,
} from '@hubspot/ui-extensions';
import { useEffect, useState } from 'react';
import { textsFor } from './texts';

type Connection =
  | { kind: 'asking' | 'not_connected' | 'unknown' }
  | { kind: 'connected'; sendsEmail: boolean; property: string };

const TIMEOUT_MS = 12_000;

/** One screen: whether the app is connected, what it does with codes, and the way to its own settings. */
export function Settings() {
  const { user, variables } = useExtensionContext<'settings'>();
  const texts = textsFor(user.language ?? user.locale);
  const baseUrl = typeof variables?.API_BASE === 'string' ? variables.API_BASE.replace(/\/$/, '') : '';
  const [connection, setConnection] = useState<Connection>({ kind: 'asking' });
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    setConnection({ kind: 'asking' });
    void ask(baseUrl).then((answer) => isCurrent && setConnection(answer));
    return () => {
      isCurrent = false;
    };
  }, [baseUrl, attempt]);

  if (connection.kind === 'asking') {
    return <LoadingSpinner label={texts.asking} showLabel layout="centered" />;
  }
  return (
    <Flex direction="column" gap="medium">
      {connection.kind === 'connected' && (
        <>
          <Flex>
            <StatusTag variant="success">{texts.connected}</StatusTag>
          </Flex>
          <DescriptionList direction="row">
            <DescriptionListItem label={texts.email}>
              <Text>{connection.sendsEmail ? texts.on : texts.off}</Text>
            </DescriptionListItem>
            <DescriptionListItem label={texts.storage}>
              <Text>{connection.property || texts.off}</Text>
            </DescriptionListItem>
          </DescriptionList>
          <Text>{texts.explanation}</Text>
        </>
      )}
      {connection.kind === 'not_connected' && (
        <Alert title={texts.notConnected} variant="danger">
          {texts.reconnect}
        </Alert>
      )}
      {connection.kind === 'unknown' && (
        <Alert title={texts.unknown} variant="warning">
          {texts.again}
        </Alert>
      )}
      <Flex gap="small" wrap>
        {baseUrl && (
          <Button variant="primary" href={{ url: `${baseUrl}/settings/`, external: true }}>
            {texts.open}
          </Button>
        )}
        {connection.kind === 'unknown' && baseUrl && (
          <Button variant="secondary" onClick={() => setAttempt(attempt + 1)}>
            {texts.tryAgain}
          </Button>
        )}
      </Flex>
    </Flex>
  );
}

async function ask(baseUrl: string): Promise<Connection> {
  try {
    const response = await hubspot.fetch(`${baseUrl}/hubspot/cards/settings`, { method: 'GET', timeout: TIMEOUT_MS });
    const answer: unknown = await response.json();
    if (!response.ok || !isRecord(answer)) {
      return { kind: 'unknown' };
    }
    if (answer.ok === true && isRecord(answer.settings)) {
      const { sendsEmail, storesInProperty, propertyLabel } = answer.settings;
      return {
        kind: 'connected',
        sendsEmail: sendsEmail === true,
        property: storesInProperty === true && typeof propertyLabel === 'string' ? propertyLabel : '',
      };
    }
    const isDisconnected = isRecord(answer.error) && answer.error.code === 'not_connected';
    return { kind: isDisconnected ? 'not_connected' : 'unknown' };
  } catch {
    return { kind: 'unknown' };
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
