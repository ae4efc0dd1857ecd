// The production bundle of every card and page, by the builder that HubSpot runs after an upload.
// Usage: node tools/build.mjs [output directory]
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { remoteBuild } from '@hubspot/ui-extensions-dev-server/build';

const project = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const source = path.join(project, JSON.parse(readFileSync(path.join(project, 'hsproject.json'), 'utf8')).srcDir);
const output = path.resolve(process.argv[2] ?? path.join(project, 'dist'));
// HubSpot refuses extensions of more than 1 MB; ours has no business being near that.
const LARGEST = 150_000;

for (const folder of ['cards', 'settings']) {
  const root = path.join(source, 'app', folder);
  for (const name of readdirSync(root).filter((file) => file.endsWith('-hsmeta.json'))) {
    const { entrypoint } = JSON.parse(readFileSync(path.join(root, name), 'utf8')).config;
    const entry = path.basename(entrypoint);
    if (path.join(source, entrypoint) !== path.join(root, entry)) {
      throw new Error(`${name}: the entrypoint ${entrypoint} is not a file of its own folder.`);
    }
    const outputDir = path.join(output, folder);
    await remoteBuild({ root, entryPoint: entry, outputDir, logLevel: 'warn', appConfig: {} });
    const bundle = path.join(outputDir, entry.replace(/\.tsx$/, '.js'));
    const { size } = statSync(bundle);
    if (size > LARGEST) {
      throw new Error(`${path.basename(bundle)} has ${size} bytes; ${LARGEST} are the most that it may have.`);
    }
    console.log(`  ${folder}/${path.basename(bundle)}: ${(size / 1000).toFixed(1)} kB`);
  }
}
