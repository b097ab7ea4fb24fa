// The table of stations.

export function mountTable() {}
