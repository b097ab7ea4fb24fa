// What "my trip" says in English; the keys begin with "trip.".

export const TRIP = {};
