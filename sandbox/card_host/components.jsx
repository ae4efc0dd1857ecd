// HubSpot's components as plain, accessible HTML. The look is the sandbox's own; layout and behaviour follow the
// documentation: https://developers.hubspot.com/docs/apps/developer-platform/add-features/ui-extensions/ui-components
import React, { useEffect, useId, useRef, useState } from 'react';

const classes = (...names) => names.filter(Boolean).join(' ');
const ALIGN = { start: 'flex-start', end: 'flex-end', center: 'center', stretch: 'stretch', baseline: 'baseline' };
const JUSTIFY = { ...ALIGN, between: 'space-between', around: 'space-around' };
const SIZES = { 'extra-small': 'xs', small: 'sm', medium: 'md', large: 'lg', 'extra-large': 'xl', flush: 'none' };
const size = (name) => SIZES[name] ?? name ?? 'none';

function Alert({ title, variant = 'info', children }) {
  return (
    <div className={classes('ui-alert', variant)} role={variant === 'danger' || variant === 'error' ? 'alert' : 'status'}>
      <p className="ui-alert-title">{title}</p>
      {children && <div>{children}</div>}
    </div>
  );
}

function Button({ variant = 'secondary', type = 'button', size: wanted, disabled, href, onClick, children, busy = false }) {
  const className = classes('ui-button', variant, size(wanted ?? 'md'), busy && 'busy');
  if (href && !disabled) {
    const { url, external = false } = typeof href === 'string' ? { url: href } : href;
    return (
      <a className={className} href={url} onClick={() => onClick?.({})} {...(external && { target: '_blank', rel: 'noreferrer' })}>
        {children}
      </a>
    );
  }
  return (
    <button className={className} type={type} disabled={disabled} aria-busy={busy || undefined} onClick={() => onClick?.({})}>
      {children}
    </button>
  );
}

function LoadingButton({ loading = false, ...props }) {
  return <Button {...props} busy={loading} disabled={props.disabled || loading} />;
}

function Flex({ direction = 'row', justify, align, alignSelf, wrap, gap, children }) {
  const style = {
    flexDirection: direction,
    justifyContent: JUSTIFY[justify],
    alignItems: ALIGN[align] ?? (direction === 'row' ? 'center' : 'stretch'),
    alignSelf: ALIGN[alignSelf],
    flexWrap: wrap === true ? 'wrap' : wrap || undefined,
  };
  return (
    <div className={classes('ui-flex', `gap-${size(gap)}`)} style={style}>
      {children}
    </div>
  );
}

function Text({ variant = 'bodytext', format = {}, inline = false, children }) {
  const Tag = inline ? 'span' : 'p';
  return <Tag className={classes('ui-text', variant, format.fontWeight, format.italic && 'italic')}>{children}</Tag>;
}

/** Text fields keep what is being typed: what the card sends back may be older than the last key stroke. */
function useTyping({ value, defaultValue, onInput, onChange }) {
  const [text, setText] = useState(value ?? defaultValue ?? '');
  const sent = useRef([]);
  useEffect(() => {
    const echo = sent.current.indexOf(value);
    if (echo >= 0) {
      sent.current = sent.current.slice(echo + 1);
    } else if (value !== undefined) {
      setText(value);
    }
  }, [value]);
  return {
    value: text,
    onChange: (event) => {
      setText(event.target.value);
      sent.current.push(event.target.value);
      onInput?.(event.target.value);
    },
    onBlur: () => {
      if (text !== value) {
        onChange?.(text);
      }
    },
  };
}

function Field({ label, description, required, error, validationMessage, as: Tag, ...props }) {
  const id = useId();
  const hints = [description && `${id}-description`, validationMessage && `${id}-message`].filter(Boolean).join(' ');
  return (
    <div className="ui-field">
      <label htmlFor={id}>
        {label}
        {required && <span aria-hidden="true"> *</span>}
      </label>
      {description && (
        <p id={`${id}-description`} className="ui-hint">
          {description}
        </p>
      )}
      <Tag id={id} required={required} aria-invalid={error || undefined} aria-describedby={hints || undefined} {...props} />
      {validationMessage && (
        <p id={`${id}-message`} className={classes('ui-hint', error && 'bad')}>
          {validationMessage}
        </p>
      )}
    </div>
  );
}

function Input({ type = 'text', name, placeholder, readOnly, ...props }) {
  const typing = useTyping(props);
  const { label, description, required, error, validationMessage } = props;
  return (
    <Field
      as="input"
      {...{ label, description, required, error, validationMessage, name, placeholder, readOnly, type, ...typing }}
      autoComplete="off"
      spellCheck={false}
    />
  );
}

function TextArea({ name, placeholder, readOnly, rows, maxLength, ...props }) {
  const typing = useTyping(props);
  const { label, description, required, error, validationMessage } = props;
  return (
    <Field
      as="textarea"
      {...{ label, description, required, error, validationMessage, name, placeholder, readOnly, rows, maxLength, ...typing }}
    />
  );
}

function Form({ onSubmit, children }) {
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        onSubmit?.({ targetValue: Object.fromEntries(new FormData(event.currentTarget)) });
      }}
    >
      {children}
    </form>
  );
}

function DescriptionListItem({ label, children }) {
  return (
    <div className="ui-fact">
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function LoadingSpinner({ label, showLabel, layout }) {
  return (
    <div className={classes('ui-spinner', layout)} role="status">
      <span className="ui-spin" aria-hidden="true" />
      <span className={showLabel ? undefined : 'hidden'}>{label}</span>
    </div>
  );
}

function Accordion({ title, defaultOpen = false, children }) {
  return (
    <details className="ui-accordion" open={defaultOpen || undefined}>
      <summary>{title}</summary>
      {children}
    </details>
  );
}

const SHOWN = {
  Accordion,
  Alert,
  Button,
  ButtonRow: ({ children }) => <div className="ui-flex ui-row gap-sm">{children}</div>,
  DescriptionList: ({ direction, children }) => <dl className={classes('ui-facts', direction)}>{children}</dl>,
  DescriptionListItem,
  Divider: () => <hr className="ui-divider" />,
  Flex,
  Form,
  Heading: ({ children }) => <h3 className="ui-heading">{children}</h3>,
  Input,
  LoadingButton,
  LoadingSpinner,
  StatusTag: ({ variant = 'default', children }) => <span className={classes('ui-status', variant)}>{children}</span>,
  Text,
  TextArea,
  Tile: ({ children }) => <div className="ui-tile">{children}</div>,
};

/** Return what a component looks like here; one that the sandbox has no look for says so, and shows what is inside. */
export function componentFor(name) {
  SHOWN[name] ??= ({ children }) => (
    <div className="ui-unknown">
      <p className="ui-hint">{name}, which the sandbox does not show</p>
      {children}
    </div>
  );
  return SHOWN[name];
}
