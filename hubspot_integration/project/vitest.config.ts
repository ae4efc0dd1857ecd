import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tests/**/*.test.{ts,tsx}'],
    environment: 'node',
    env: { TZ: 'UTC' },
    restoreMocks: true,
    allowOnly: false,
    reporters: ['default', './tools/nothing-skipped.mjs'],
  },
});
