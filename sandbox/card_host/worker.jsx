// What an app card sees of HubSpot: a web worker without a page, with React, a few functions and what they know.
import { createRemoteRoot } from '@remote-ui/core';
import * as RemoteUI from '@remote-ui/react';
import { createEndpoint, retain } from '@remote-ui/rpc';
import React from 'react';

const endpoint = createEndpoint(self);
let extension = null;
let host = null;

Object.assign(self, {
  React,
  RemoteUI,
  __HUBSPOT_EXTENSION_WORKER__: true,
  logger: { debug() {}, info() {}, warn() {}, error() {} },
  // The extension calls this while it is being loaded, before all its parts are there: it is run afterwards.
  extend_V2: (callback) => {
    extension = callback;
  },
  hsFetch: async (url, options = {}) => {
    const { status, body, problem } = await host.fetch(String(url), {
      method: options.method ?? 'GET',
      body: options.body ?? null,
      timeout: options.timeout ?? 15_000,
    });
    if (problem) {
      throw new TypeError(problem);
    }
    return new Response(body, { status, headers: { 'content-type': 'application/json' } });
  },
});

endpoint.expose({
  async render(channel, bundleUrl, context, hostFunctions) {
    retain(channel);
    retain(hostFunctions);
    host = hostFunctions;
    const actions = {
      addAlert: (alert) => void host.addAlert(alert),
      copyTextToClipboard: (text) => host.copyTextToClipboard(text),
      refreshObjectProperties() {},
      reloadPage: () => void host.reloadPage(),
    };
    self.hsWorkerAPI = { useExtensionContext: () => context, useExtensionActions: () => actions };
    importScripts(bundleUrl);
    const root = createRemoteRoot(channel, { components: undefined });
    RemoteUI.createRoot(root).render(extension({ context, actions }));
    await root.mount();
  },
});
