// HubSpot's own project parser over this project, with every profile, without an account: only the download of the
// account's JSON schemas is replaced, by schemas.json.
import { http } from '@hubspot/local-dev-lib/http';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseProjectConfig, validateProjectConfig } from '@hubspot/project-parsing-lib/projects';
import { isTranslationError, translate } from '@hubspot/project-parsing-lib/translate';

const tools = path.dirname(fileURLToPath(import.meta.url));
const project = path.resolve(process.argv[2] ?? path.join(tools, '..'));
const schemas = JSON.parse(readFileSync(path.join(tools, 'schemas.json'), 'utf8'));
http.get = async () => ({ data: schemas });

const EXPECTED = ['application', 'card', 'settings', 'webhooks', 'workflow-action', 'workflow-action'];

try {
  const config = parseProjectConfig(project);
  validateProjectConfig(config, project);
  const source = path.join(project, config.srcDir);
  const profiles = readdirSync(source).flatMap((name) => name.match(/^hsprofile\.(.+)\.json$/)?.[1] ?? []);
  for (const profile of profiles) {
    const { intermediateRepresentation, skippedHsMetaFiles } = await translate(
      { projectSourceDir: source, platformVersion: config.platformVersion, accountId: 1 },
      { skipValidation: false, profile },
    );
    const nodes = Object.values(intermediateRepresentation.intermediateNodesIndexedByUid);
    const found = nodes.map((node) => node.componentType.toLowerCase().replace('_', '-')).sort();
    if (skippedHsMetaFiles?.length) {
      throw new Error(`The parser skipped ${skippedHsMetaFiles.map(String).join(', ')}.`);
    }
    if (found.join() !== EXPECTED.join()) {
      throw new Error(`The parser found ${found.join(', ')} instead of ${EXPECTED.join(', ')}.`);
    }
    if (/\$\{/.test(JSON.stringify(nodes.map((node) => node.config)))) {
      throw new Error(`A variable is left unresolved with the profile ${profile}.`);
    }
    console.log(`  valid with profile ${profile}: ${nodes.length} components`);
  }
  if (profiles.length < 2) {
    throw new Error(`Only ${profiles.length} profiles were found.`);
  }
} catch (error) {
  console.error(isTranslationError(error) ? error.toString() : error.message);
  process.exitCode = 1;
}
