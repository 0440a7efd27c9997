/** What BlueZ and its virtual radios are made of; the host has it, whose root is the guest's. */
export const bluetoothPrograms = [
  "/usr/libexec/bluetooth/bluetoothd",
  "/usr/bin/btvirt",
  "/usr/bin/dbus-daemon",
] as const;
/** The cryptography of bluetoothd, before the radios. */
export const bluetoothModules = [
  ...["ecdh_generic", "cmac", "aes_generic", "ecb", "algif_hash", "algif_skcipher"],
] as const;
