// Bundles the host and, with HubSpot's own builder, the cards of a developer project.
// Usage: node build.mjs <project folder>. Output: dist/ beside this file.
import { build } from 'esbuild';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const project = path.resolve(process.argv[2] ?? path.join(here, '../../hubspot_integration/project'));
const output = path.join(here, 'dist');

rmSync(output, { recursive: true, force: true });
mkdirSync(output);
await build({
  absWorkingDir: here,
  entryPoints: ['host.jsx', 'worker.jsx'],
  outdir: output,
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  define: { 'process.env.NODE_ENV': '"production"' },
  logLevel: 'warning',
});
cpSync(path.join(here, 'card-host.css'), path.join(output, 'card-host.css'));
const cards = spawnSync(process.execPath, ['tools/build.mjs', output], { cwd: project, stdio: 'inherit' });
process.exit(cards.status ?? 1);
