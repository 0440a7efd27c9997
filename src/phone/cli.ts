#!/usr/bin/env node
import { main } from "./cli/cli.ts";

// Whoever has read enough hangs up (`| head`): no fault of anybody's, and what is under way is done.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") return;
  process.stderr.write(`obscura-phone: standard output: ${error.message}\n`);
  process.exitCode = 1;
});
process.stderr.on("error", () => {});
const code = await main(process.argv.slice(2));
process.exitCode = code || process.exitCode || 0;
