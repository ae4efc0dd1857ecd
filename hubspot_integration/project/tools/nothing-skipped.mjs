// A vitest reporter: a test that is left out fails the run.
export default class NothingSkipped {
  onTestRunEnd(modules) {
    const skipped = modules.flatMap((module) => [...module.children.allTests('skipped')]).map((test) => test.fullName);
    if (skipped.length > 0) {
      console.error(`Left out: ${skipped.join('; ')}`);
      process.exitCode = 1;
    }
  }
}
