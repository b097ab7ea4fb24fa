// "My trip".

export function mountTrip() {}
