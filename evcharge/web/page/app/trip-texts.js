// What "my trip" says; the keys begin with "trip.".

export const TRIP = { pt: {}, en: {} };
