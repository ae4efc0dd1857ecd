// The page's side of an app card: gives it a worker to live in, shows its components, passes its requests on.
import { createController, createRemoteReceiver, RemoteRenderer } from '@remote-ui/react/host';
import { createEndpoint } from '@remote-ui/rpc';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { componentFor } from './components.jsx';

for (const place of document.querySelectorAll('[data-app-card]')) {
  void show(place, JSON.parse(place.dataset.appCard));
}

async function show(place, { bundle, context, portalId, userId }) {
  const worker = new Worker('/card-host/worker.js');
  const receiver = createRemoteReceiver();
  const controller = { ...createController({}), get: componentFor };
  createRoot(place).render(<RemoteRenderer receiver={receiver} controller={controller} />);
  worker.addEventListener('error', (event) => fail(place, event.message));
  try {
    await createEndpoint(worker).call.render(receiver.receive, bundle, context, {
      fetch: (url, options) => pass(portalId, userId, url, options),
      addAlert: ({ type = 'info', message, title = '' }) => toast(type, [title, message].filter(Boolean).join(': ')),
      copyTextToClipboard: (text) => navigator.clipboard.writeText(text),
      reloadPage: () => location.reload(),
    });
  } catch (error) {
    fail(place, String(error));
  }
}

/** `hubspot.fetch`, through the sandbox, which signs the request as HubSpot does. */
async function pass(portalId, userId, url, { method, body, timeout }) {
  try {
    const response = await fetch('/sandbox/api/card-fetch', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ portalId, userId, method, url, timeout, ...(body && { body }) }),
    });
    const answer = await response.json();
    if (!response.ok) {
      return { problem: answer.error.message };
    }
    const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body);
    return { status: answer.status, body: text };
  } catch {
    return { problem: 'The sandbox does not answer.' };
  }
}

function toast(type, message) {
  const line = document.createElement('p');
  line.className = `toast ${type}`;
  line.textContent = message;
  document.getElementById('toasts').append(line);
  setTimeout(() => line.remove(), 5_000);
}

function fail(place, reason) {
  const line = document.createElement('p');
  line.className = 'note bad';
  line.textContent = `The card has stopped: ${reason}`;
  place.after(line);
}
