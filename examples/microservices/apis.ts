/**
 * The two APIs. An identifier is a name, not an address: it is the `resource` of a token request (RFC 8707) and the
 * `aud` of the token, and stays the same wherever the service runs. A token is for one API only.
 */
export const ordersApi = 'https://orders.fernwood.example';
export const billingApi = 'https://billing.fernwood.example';
