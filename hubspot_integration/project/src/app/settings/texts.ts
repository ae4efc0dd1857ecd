// What the settings screen says, in the languages of the card.
interface Texts {
  asking: string;
  connected: string;
  notConnected: string;
  reconnect: string;
  unknown: string;
  again: string;
  email: string;
  storage: string;
  on: string;
  off: string;
  explanation: string;
  open: string;
  tryAgain: string;
}

const en: Texts = {
  asking: 'Asking OpsAgent',
  connected: 'Connected',
  notConnected: 'OpsAgent is not connected',
  reconnect: 'Workflows and cards get no codes until it is. Open the OpsAgent settings to reconnect this account.',
  unknown: 'OpsAgent did not answer',
  again: 'Whether this account is connected is not known. Try again in a moment.',
  email: 'Codes by e-mail',
  storage: 'Codes in a property',
  on: 'On',
  off: 'Off',
  explanation: 'Code type, length, expiry, mail texts and limits are set in OpsAgent. You sign in there with HubSpot.',
  open: 'Open the OpsAgent settings',
  tryAgain: 'Try again',
};

const LANGUAGES: Record<string, Texts> = {
  en,
  de: {
    asking: 'OpsAgent wird gefragt',
    connected: 'Verbunden',
    notConnected: 'OpsAgent ist nicht verbunden',
    reconnect: 'Bis dahin bekommen Workflows und Karten keine Codes. Öffnen Sie die OpsAgent-Einstellungen, um dieses Konto neu zu verbinden.',
    unknown: 'OpsAgent hat nicht geantwortet',
    again: 'Ob dieses Konto verbunden ist, ist nicht bekannt. Versuchen Sie es gleich noch einmal.',
    email: 'Codes per E-Mail',
    storage: 'Codes in einer Eigenschaft',
    on: 'An',
    off: 'Aus',
    explanation: 'Art, Länge, Ablauf, Mailtexte und Grenzen werden in OpsAgent eingestellt. Sie melden sich dort mit HubSpot an.',
    open: 'OpsAgent-Einstellungen öffnen',
    tryAgain: 'Erneut versuchen',
  },
  fr: {
    asking: 'Interrogation d’OpsAgent',
    connected: 'Connecté',
    notConnected: 'OpsAgent n’est pas connecté',
    reconnect: 'D’ici là, les workflows et les cartes n’obtiennent aucun code. Ouvrez les paramètres OpsAgent pour reconnecter ce compte.',
    unknown: 'OpsAgent n’a pas répondu',
    again: 'On ne sait pas si ce compte est connecté. Réessayez dans un instant.',
    email: 'Codes par e-mail',
    storage: 'Codes dans une propriété',
    on: 'Activé',
    off: 'Désactivé',
    explanation: 'Type, longueur, expiration, textes des e-mails et limites se règlent dans OpsAgent. Vous vous y connectez avec HubSpot.',
    open: 'Ouvrir les paramètres OpsAgent',
    tryAgain: 'Réessayer',
  },
  es: {
    asking: 'Consultando OpsAgent',
    connected: 'Conectado',
    notConnected: 'OpsAgent no está conectado',
    reconnect: 'Hasta entonces los workflows y las tarjetas no obtienen códigos. Abra la configuración de OpsAgent para volver a conectar esta cuenta.',
    unknown: 'OpsAgent no ha respondido',
    again: 'No se sabe si esta cuenta está conectada. Inténtelo de nuevo en un momento.',
    email: 'Códigos por correo',
    storage: 'Códigos en una propiedad',
    on: 'Activado',
    off: 'Desactivado',
    explanation: 'Tipo, longitud, caducidad, textos del correo y límites se ajustan en OpsAgent. Allí inicia sesión con HubSpot.',
    open: 'Abrir la configuración de OpsAgent',
    tryAgain: 'Intentar de nuevo',
  },
  pt: {
    asking: 'Consultando o OpsAgent',
    connected: 'Conectado',
    notConnected: 'O OpsAgent não está conectado',
    reconnect: 'Até lá, fluxos de trabalho e cartões não recebem códigos. Abra as configurações do OpsAgent para reconectar esta conta.',
    unknown: 'O OpsAgent não respondeu',
    again: 'Não se sabe se esta conta está conectada. Tente de novo em instantes.',
    email: 'Códigos por e-mail',
    storage: 'Códigos em uma propriedade',
    on: 'Ligado',
    off: 'Desligado',
    explanation: 'Tipo, tamanho, validade, textos do e-mail e limites são definidos no OpsAgent. Lá você entra com o HubSpot.',
    open: 'Abrir as configurações do OpsAgent',
    tryAgain: 'Tentar de novo',
  },
  nl: {
    asking: 'OpsAgent wordt gevraagd',
    connected: 'Verbonden',
    notConnected: 'OpsAgent is niet verbonden',
    reconnect: 'Tot dan krijgen workflows en kaarten geen codes. Open de OpsAgent-instellingen om dit account opnieuw te verbinden.',
    unknown: 'OpsAgent antwoordde niet',
    again: 'Of dit account verbonden is, is niet bekend. Probeer het zo nog eens.',
    email: 'Codes per e-mail',
    storage: 'Codes in een eigenschap',
    on: 'Aan',
    off: 'Uit',
    explanation: 'Soort, lengte, geldigheid, mailteksten en limieten stelt u in OpsAgent in. U meldt zich daar aan met HubSpot.',
    open: 'OpsAgent-instellingen openen',
    tryAgain: 'Opnieuw proberen',
  },
  ja: {
    asking: 'OpsAgentに問い合わせています',
    connected: '接続済み',
    notConnected: 'OpsAgentが接続されていません',
    reconnect: '接続するまで、ワークフローとカードではコードを取得できません。OpsAgentの設定を開いて、このアカウントを再接続してください。',
    unknown: 'OpsAgentが応答しませんでした',
    again: 'このアカウントが接続されているか不明です。しばらくしてからお試しください。',
    email: 'Eメールでのコード送信',
    storage: 'プロパティーへのコード保存',
    on: 'オン',
    off: 'オフ',
    explanation: 'コードの種類、長さ、有効期限、メールの文面、制限はOpsAgentで設定します。HubSpotでサインインできます。',
    open: 'OpsAgentの設定を開く',
    tryAgain: 'もう一度試す',
  },
};

/** The texts for what HubSpot says of its user's language, such as "pt-br", "de" or nothing. */
export function textsFor(language: string | undefined): Texts {
  return LANGUAGES[(language ?? '').toLowerCase().split(/[-_]/)[0] ?? ''] ?? en;
}
