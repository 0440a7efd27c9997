import { number, type Setting, type Values } from "../../base/node/settings.ts";

const contact: Setting<string> = {
  default: "mailto:camera@example.org",
  about:
    "whom a push service may write to about this camera's messages; it and the relay can read this",
  expected: "mailto: and an address, or https: and a name, of at most 100 characters",
  read: (value) =>
    typeof value === "string" &&
    value.length <= 100 &&
    /^(?:mailto:[!-~]+@[a-z0-9.-]+|https:\/\/[a-z0-9.-]+(?:\/[!-~]*)?)$/i.test(value)
      ? value
      : undefined,
};

export const pushSchema = {
  perHour: number({
    ...{ default: 20, min: 1, max: 60, whole: true },
    about: "messages in an hour at most to each phone that subscribed (obscura-phone push)",
  }),
  contact,
};
export type PushSettings = Values<typeof pushSchema>;
