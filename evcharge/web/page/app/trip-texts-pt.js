// What "my trip" says in Portuguese; the keys begin with "trip.".

export const TRIP = {};
