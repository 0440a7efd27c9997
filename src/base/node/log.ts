/** What a log line may carry: never bytes, never objects, so that nothing secret slips in. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;
export type LogLevel = "debug" | "info" | "warn" | "error";
export type Log = Record<LogLevel, (message: string, fields?: LogFields) => void>;

/** Syslog priorities, which the journal takes from the start of a line. */
const priorities: Record<LogLevel, number> = { error: 3, warn: 4, info: 6, debug: 7 };

/**
 * Lines for people and journald on standard error: `level stage: message key=value`.
 * @param stage names who speaks ("camera", "record")
 */
export function openLog(
  stage: string,
  least: LogLevel,
  write: (line: string) => void = (line) => process.stderr.write(line),
): Log {
  const isJournal = process.env.JOURNAL_STREAM !== undefined;
  const speak =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}) => {
      if (priorities[level] > priorities[least]) return;
      const rest = Object.entries(fields)
        .filter(([, value]) => value !== undefined)
        .map(([key, value]) => ` ${key}=${typeof value === "string" ? quote(value) : value}`)
        .join("");
      const head = isJournal ? `<${priorities[level]}>` : `${level} `;
      write(`${head}${stage}: ${clean(message)}${rest}\n`);
    };
  return { debug: speak("debug"), info: speak("info"), warn: speak("warn"), error: speak("error") };
}

/** One line stays one line, whatever a device or a file calls itself. */
function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").slice(0, 1000);
}

function quote(value: string): string {
  return /^[\w./:@+-]+$/.test(value) ? value : JSON.stringify(clean(value));
}
