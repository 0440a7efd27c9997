/**
 * The visit stage, for whoever tells somebody of visits (mail, push). In: what detection, recording and
 * sealing say. Out: each visit once, when its first picture is durable; a tray of those that wait to be
 * told of, which outlives a stop; and a loop that tells of them one after the other.
 */
export { openTeller, type Teller } from "./teller.ts";
export {
  add,
  hourUs,
  mostWaiting,
  newTray,
  printTray,
  readTray,
  type Tray,
  type Visit,
} from "./tray.ts";
export { type Attachment, type Visitors, watchVisitors } from "./visitors.ts";
