// "My trip".

/** Show it in `root`; `chargeAt(id)` begins one to a station. */
export function mountTrip() {
  return { chargeAt() {} };
}
