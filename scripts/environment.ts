/**
 * What the camera's program is to be started with: one malloc arena for each of eight threads, and
 * a young heap of twice 16 MiB, hold some 20 MB that nobody uses.
 */
export const serviceEnvironment = {
  MALLOC_ARENA_MAX: "1",
  NODE_OPTIONS: "--max-semi-space-size=1",
} as const;
