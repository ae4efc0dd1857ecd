import { config } from '@hubspot/eslint-config-ui-extensions';
import tseslint from 'typescript-eslint';

export default [
  { ignores: ['node_modules/', 'dist/'] },
  ...config.map((entry) => ({ ...entry, files: ['src/**/*.ts', 'src/**/*.tsx'] })),
  ...tseslint.configs.strict.map((entry) => ({ ...entry, files: ['**/*.ts', '**/*.tsx'] })),
];
