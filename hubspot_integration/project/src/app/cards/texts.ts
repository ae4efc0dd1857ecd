// What the card says, in English, and the shape that every other language must fill (languages.ts).
import type { DeliveryStatus, EmailStatus, PropertyStatus, Reason } from './api';

export interface Notice {
  title: string;
  body: string;
}

/** Failures that the card has its own words for; for any other it shows the server's sentence. */
export type ProblemCode =
  | 'not_connected'
  | 'not_found'
  | 'missing_email'
  | 'invalid_input'
  | 'rate_limited'
  | 'email_off'
  | 'no_active_code'
  | 'not_allowed'
  | 'hubspot_unavailable'
  | 'internal'
  | 'unauthorized'
  | 'unreachable'
  | 'unreadable'
  | 'busy'
  | 'not_set_up';

export interface Texts {
  loading: string;
  none: string;
  willBeAccepted: (minutes: number) => string;
  willBeMailed: string;
  willBeStored: (property: string) => string;
  generate: string;
  /** titles: what there is, or what the last click led to */
  active: string;
  issued: string;
  resent: string;
  /** what follows the title where something has not arrived */
  undelivered: Record<Exclude<DeliveryStatus, 'delivered' | 'pending'>, string>;
  emailSent: (recipient: string) => string;
  emailPending: string;
  stored: (property: string) => string;
  storing: string;
  nothingOn: string;
  locked: (until: string, attempts: number) => Notice;
  details: string;
  expired: Notice;
  masked: string;
  never: string;
  copy: string;
  copied: string;
  copyFailed: string;
  validFor: string;
  expiresAt: string;
  recipient: string;
  storedIn: string;
  reference: string;
  email: string;
  emailStatus: Record<EmailStatus, string>;
  propertyStatus: Record<PropertyStatus, string>;
  emailFailed: string;
  emailBounced: string;
  propertyFailed: string;
  resend: string;
  resendQuestion: string;
  resendBody: (recipient: string) => string;
  resendEnds: string;
  resendKeeps: string;
  confirmResend: string;
  cancel: string;
  codeLabel: string;
  codeDescription: string;
  verify: string;
  attemptsLeft: (attempts: number) => string;
  results: Record<Reason, Notice>;
  verifiedAt: (time: string) => string;
  reveal: string;
  reason: string;
  reasonDescription: string;
  reasonMissing: string;
  problems: Record<ProblemCode, Notice>;
  /** `when` is such as "in 20 seconds" */
  again: (when: string) => string;
  tryAgain: string;
  openSettings: string;
}

export const en: Texts = {
  loading: 'Looking for an active code',
  none: 'This contact has no active code. Generate one, then check here what the customer reads out.',
  willBeAccepted: (minutes) => `A new code is accepted for ${minutes} minutes.`,
  willBeMailed: 'It is emailed to the contact.',
  willBeStored: (property) => `It is stored in “${property}”.`,
  generate: 'Generate OTP',
  active: 'Active OTP',
  issued: 'Code generated',
  resent: 'New code generated',
  undelivered: { partly: 'only partly delivered', failed: 'not delivered', off: 'no delivery is on' },
  emailSent: (recipient) => `Emailed to ${recipient}.`,
  emailPending: 'The email is on its way.',
  stored: (property) => `Stored in “${property}”.`,
  storing: 'It is being stored.',
  nothingOn: 'Email and storage are switched off in the OpsAgent settings, so this code is sent to nobody.',
  locked: (until, attempts) => ({
    title: `Locked until ${until}`,
    body: `After ${attempts} wrong codes, no code from this contact is accepted until then.`,
  }),
  details: 'Details',
  expired: { title: 'The code has expired', body: 'Generate a new one.' },
  masked: 'Hidden by your account’s settings. Reveal it with a reason, or check what the customer reads out.',
  never: 'Your account does not show codes to agents. Ask the customer to read the code out, and check it here.',
  copy: 'Copy code',
  copied: 'The code is copied.',
  copyFailed: 'Your browser did not allow copying. Select the code and copy it yourself.',
  validFor: 'Valid for',
  expiresAt: 'Expires At',
  recipient: 'Recipient',
  storedIn: 'Stored in',
  reference: 'Reference',
  email: 'Email',
  emailStatus: { pending: 'Sending', sent: 'Sent', failed: 'Not sent', bounced: 'Bounced', off: 'Off' },
  propertyStatus: { pending: 'Storing', written: 'Stored', failed: 'Not stored', off: 'Off' },
  emailFailed: 'The email could not be sent. Check the address, then resend the code.',
  emailBounced: 'The email came back. Correct the contact’s address, then resend the code.',
  propertyFailed: 'The code could not be stored. Ask an admin to look at the activity in the OpsAgent settings.',
  resend: 'Resend Code',
  resendQuestion: 'Send a new code?',
  resendBody: (recipient) => `A new code is generated and emailed to ${recipient}.`,
  resendEnds: 'The current code stops working.',
  resendKeeps: 'The current code keeps working until it expires.',
  confirmResend: 'Confirm & Resend',
  cancel: 'Cancel',
  codeLabel: 'Code from the customer',
  codeDescription: 'Type what the customer reads out.',
  verify: 'Verify',
  attemptsLeft: (attempts) => (attempts === 1 ? '1 attempt left' : `${attempts} attempts left`),
  results: {
    verified: { title: 'Verified', body: 'The code was correct. It can’t be used again.' },
    wrong_code: { title: 'Wrong code', body: 'Ask the customer to read the code out again.' },
    malformed: { title: 'This cannot be a code', body: 'Check what you typed. No attempt was used.' },
    expired: { title: 'This code has expired', body: 'Generate a new one.' },
    locked: { title: 'The code is locked', body: 'It was entered wrongly too often. Generate a new one.' },
    superseded: { title: 'This is an older code', body: 'Ask the customer for the latest one. No attempt was used.' },
    already_used: { title: 'This code was used already', body: 'Generate a new one.' },
    not_found: { title: 'There is no code to check', body: 'Generate one for the contact’s current address.' },
  },
  verifiedAt: (time) => `Verified ${time}`,
  reveal: 'Reveal code',
  reason: 'Reason',
  reasonDescription: 'Recorded with your email address.',
  reasonMissing: 'Say why you need to see the code.',
  problems: {
    not_connected: { title: 'OpsAgent is not connected', body: 'Ask an admin to reconnect it in the OpsAgent settings.' },
    not_found: { title: 'Contact not found', body: 'HubSpot does not know this contact any more. Reload the page.' },
    missing_email: { title: 'No email address', body: 'Fill in the contact’s email address, then try again.' },
    invalid_input: { title: 'That did not work', body: 'Reload the page and try again.' },
    rate_limited: { title: 'Please wait', body: 'Codes and attempts are limited, to protect the contact.' },
    email_off: { title: 'Email is switched off', body: 'Ask an admin to switch it on in the OpsAgent settings.' },
    no_active_code: { title: 'There is no active code', body: 'Generate a new one.' },
    not_allowed: { title: 'Codes are not shown', body: 'Your account does not show codes to agents.' },
    hubspot_unavailable: { title: 'HubSpot did not answer', body: 'The contact could not be read. Try again in a moment.' },
    internal: { title: 'Something went wrong', body: 'Nothing was changed. Try again in a moment.' },
    unauthorized: {
      title: 'OpsAgent refused the request',
      body: 'Ask an admin to check the app’s credentials on the OpsAgent server.',
    },
    unreachable: { title: 'OpsAgent did not answer', body: 'Try again. Nothing is done twice.' },
    unreadable: { title: 'OpsAgent’s answer was not understood', body: 'Try again. Nothing is done twice.' },
    busy: { title: 'Many requests at once', body: 'Try again in a few seconds.' },
    not_set_up: { title: 'The card is not set up', body: 'Ask an admin to upload the app again with a profile that names its address.' },
  },
  again: (when) => `Try again ${when}.`,
  tryAgain: 'Try again',
  openSettings: 'Open the OpsAgent settings',
};
