import { generate } from "selfsigned";

/** PEM の証明書と鍵。 */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

/** その場で作る、試験だけの認証局。 */
export async function createAuthority(name: string): Promise<Identity> {
  const { cert, private: key } = await generate([{ name: "commonName", value: name }], {
    keyType: "ec",
    algorithm: "sha256",
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, critical: true },
    ],
  });
  return { cert, key };
}

/** localhost のための証明書。 */
export async function issue(authority: Identity, name: string): Promise<Identity> {
  const { cert, private: key } = await generate([{ name: "commonName", value: name }], {
    keyType: "ec",
    algorithm: "sha256",
    ca: { cert: authority.cert, key: authority.key },
    extensions: [
      { name: "basicConstraints", cA: false, critical: true },
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          { type: 7, ip: "127.0.0.1" },
        ],
      },
    ],
  });
  return { cert, key };
}
