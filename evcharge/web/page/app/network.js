// The figures of the network.

export function mountNetwork() {}
