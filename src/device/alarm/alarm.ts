/**
 * The alarm. In: what detection says, what the house's sensors say at the broker, commands. Out: how it
 * stands, and what it did and why. alarm.md is its specification.
 */
export { drawChart } from "./chart.ts";
export { forgetAlarm } from "./keep.ts";
export { type Alarm, type AlarmOptions, checkCodeFile, openAlarm, type Told } from "./live.ts";
export {
  type Cause,
  type Command,
  commands,
  type Deed,
  type PanelState,
  type View,
} from "./machine.ts";
export { printOutcomes, printSimulation, printStrangers, toJson } from "./print.ts";
export { mostBytes, parseRecording, type Starting, startings, strangersIn } from "./recording.ts";
export { type AlarmSettings, alarmFaults, alarmSchema } from "./settings.ts";
export { simulate } from "./simulate.ts";
export type { Message } from "./sources.ts";
